// Converts a checkpoint folder to FP8 in code, as the command line does: node test/examples/convert-checkpoint.mjs IN OUT [DIALECT]
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { load } from "blockscale";
import { convertCheckpoint } from "blockscale/checkpoint";
import { createFile, openFolder } from "blockscale/node";

const [from, to, dialect = "deepseek-v3.1"] = process.argv.slice(2);
const { total } = await convertCheckpoint(await openFolder(from), {
  engine: await load(),
  to: dialect,
  // A few megabytes of memory, whatever the size; a file has its name only when it is whole.
  write: async (name) => {
    await mkdir(dirname(join(to, name)), { recursive: true });
    return createFile(join(to, name));
  },
});
console.log(total);
