import { readCheckpoint } from "../checkpoint/checkpoint.ts";
import { inspect as inspectCheckpoint } from "../checkpoint/inspect.ts";
import { openFile } from "../io/node.ts";
import { inspectionTable } from "./tables.ts";

/** `blockscale inspect PATH` */
export async function inspect(input: string, flags: { readonly json?: true }): Promise<void> {
  const source = await openFile(input);
  try {
    const checkpoint = await readCheckpoint(new Map([[input, source]]));
    const inspection = await inspectCheckpoint(checkpoint, [source], { missingScale: "one" });
    console.log(
      flags.json === true ? JSON.stringify({ input, ...inspection }, null, 2) : inspectionTable(inspection),
    );
  } finally {
    await source.close();
  }
}
