// Node, Deno and Bun: prints the report.
import { report } from "./report.mjs";

console.log(JSON.stringify(await report()));
