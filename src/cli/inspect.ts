import { openCheckpoint } from "../checkpoint/folder.ts";
import { inspect as inspectCheckpoint } from "../checkpoint/inspect.ts";
import { openInput } from "./input.ts";
import { print, printJson } from "./print.ts";
import { inspectionTable } from "./tables.ts";

/** `blockscale inspect PATH` */
export async function inspect(path: string, flags: { readonly json?: true }): Promise<void> {
  const input = await openInput(path);
  try {
    const { checkpoint, sources } = await openCheckpoint(input.files, path);
    const inspection = await inspectCheckpoint(checkpoint, sources, { missingScale: "one" });
    await (flags.json === true
      ? printJson({ input: path, ...inspection })
      : print(inspectionTable(inspection)));
  } finally {
    await input.close();
  }
}
