// Node, Deno and Bun: prints what is wrong with threads.
import { threadProblems } from "./threads.mjs";

console.log(JSON.stringify(await threadProblems()));
