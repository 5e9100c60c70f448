import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import { SingleBar } from "cli-progress";
import { isAddress } from "../io/place.ts";
import type { Model } from "../model/model.ts";
import { openModel } from "../model/open.ts";
import type { AskedPrecisions, Precisions } from "../model/precisions.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";

/** Options of every command that runs a model. */
export interface ModelFlags extends AskedPrecisions {
  readonly threads?: number;
}

export interface OpenedModel {
  readonly model: Model;
  /** Name of the model: that of its folder, or the last part of its address. */
  readonly name: string;
  close(): Promise<void>;
}

/** More threads than this wait for memory, and for one another. */
const MOST_THREADS = 8;

/** Opens a model, with progress on a terminal. */
export async function openModelAt(
  place: string,
  flags: ModelFlags,
  signal: AbortSignal,
): Promise<OpenedModel> {
  const input = await openInput(place, signal);
  const bar = process.stderr.isTTY
    ? new SingleBar({
        stream: process.stderr,
        format: "{bar} {percentage}% of {size}",
        hideCursor: true,
        clearOnComplete: true,
        linewrap: false,
      })
    : null;
  try {
    let isShown = false;
    const model = await openModel(input.files, {
      threads: flags.threads ?? Math.min(MOST_THREADS, availableParallelism()),
      activations: flags.activations,
      cache: flags.cache,
      weights: flags.weights,
      signal,
      onProgress: ({ done, total }) => {
        if (!isShown) bar?.start(total, 0, { size: figures.bytes(total) });
        isShown = true;
        bar?.update(done);
      },
    });
    return {
      model,
      name: isAddress(place) ? place : basename(resolve(place)),
      close: async () => {
        await model.close();
        await input.close();
      },
    };
  } catch (error) {
    await input.close();
    throw error;
  } finally {
    bar?.stop();
  }
}

/** What a model computes with, for people: "activations int8 from 16 tokens on, weights as stored". */
export function precisionsNamed({ activations, int8Rows, weights, cache }: Precisions): string {
  const from = activations === "int8" && int8Rows > 1 ? ` from ${int8Rows} tokens on` : "";
  const parts = [
    `activations ${activations}${from}`,
    `weights ${weights === "codes" ? "as stored" : weights}`,
  ];
  return [...parts, ...(cache === "f32" ? [] : [`cache ${cache}`])].join(", ");
}

/** All of standard input, as text. */
export async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
