import { readFile } from "node:fs/promises";
import { createFile, systemFault } from "../io/node.ts";
import type { Pooling } from "../model/pooling.ts";
import { type ModelFlags, openModelAt, standardInput } from "./model-input.ts";
import { print } from "./print.ts";

/** `blockscale embed MODEL`: a vector for each line of a text. */
export async function embed(
  place: string,
  flags: ModelFlags & {
    readonly input?: string;
    readonly output?: string;
    readonly pooling?: Pooling;
    readonly normalize: boolean;
  },
  signal: AbortSignal,
): Promise<void> {
  const text =
    flags.input === undefined
      ? await standardInput()
      : await readFile(flags.input, "utf8").catch((cause) => {
          throw systemFault(flags.input!, "a readable text file", cause);
        });
  const texts = text.split(/\r?\n/);
  if (texts.at(-1) === "") texts.pop();
  const opened = await openModelAt(place, flags, signal);
  try {
    const normalize = flags.normalize ? undefined : false;
    const vectors = await opened.model.embed(texts, { pooling: flags.pooling, normalize, signal });
    const lines = vectors.map((vector) => JSON.stringify(Array.from(vector)));
    if (flags.output === undefined) {
      for (const line of lines) await print(line);
    } else {
      const isNpy = flags.output.endsWith(".npy");
      const content = isNpy
        ? npyOf(vectors, opened.model.config.hidden)
        : lines.map((line) => `${line}\n`).join("");
      await new Blob([content as BlobPart]).stream().pipeTo(await createFile(flags.output));
    }
  } finally {
    await opened.close();
  }
}

/**
 * NumPy's file format, version 1.0: a header of text padded to 64 bytes, then float32 values [vectors, size].
 */
export function npyOf(vectors: readonly Float32Array[], size: number): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${vectors.length}, ${size}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const bytes = new Uint8Array(10 + length + 4 * size * vectors.length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  const view = new DataView(bytes.buffer, 10 + length);
  for (const [row, vector] of vectors.entries()) {
    for (const [i, value] of vector.entries()) view.setFloat32(4 * (row * size + i), value, true);
  }
  return bytes;
}
