// Checks the types of every program, the largest first: node .config/types.mjs. That of test/ has src/ in it.
import { runEach } from "./processes.mjs";

const PROJECTS = ["test", "src/web", "assembly", "src/web/workers"];

await runEach(
  "node_modules/typescript/bin/tsc",
  PROJECTS.map((project) => ["-p", project]),
);
