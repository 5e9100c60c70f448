import type { Engine } from "../engine/engine.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { schemes } from "../tensor/schemes.ts";
import type { DataParallel, RankStep } from "../train/data-parallel.ts";

/** How gradients travel: float32, or E4M3 codes with a UE8M0 scale for each 32 values. */
export const GRADIENT_FORMATS = ["f32", "fp8"] as const;
export type GradientFormat = (typeof GRADIENT_FORMATS)[number];

/** How ranks hand bytes to one another. */
export interface Transport {
  /** Puts bytes where all other ranks can take them. */
  send(name: string, bytes: Uint8Array): Promise<void>;
  /**
   * Waits for what another rank has sent under this name.
   * @param length that it must have
   * @throws BlockscaleError `io`: it does not come in time, or the rank has stopped; `format`: another length
   */
  receive(rank: number, name: string, length: number): Promise<Uint8Array>;
  /** Removes what this rank has sent: all others have it. */
  forget(name: string): Promise<void>;
}

/** One rank of a run. */
export interface RankIdentity {
  readonly rank: number;
  /** How many ranks there are. */
  readonly size: number;
  /** What gradients are sent as. */
  readonly format: GradientFormat;
}

/** What a message says of itself before its values. */
interface Head extends RankIdentity {
  readonly step: number;
  readonly count: number;
}

const HEAD = 40;
const MAGIC = 0x47525342; // "BSRG", little-endian
const { block } = schemes.mxfp8;

/** The length of a message of so many gradients: a head of 40 bytes, codes, scales. */
function messageBytes({ format, count }: Pick<Head, "format" | "count">): number {
  return HEAD + (format === "f32" ? 4 * count : count + Math.ceil(count / block[1]));
}

/** A message: u32 magic, format, step, rank, size, 0; float64 count and loss; then values. Little-endian. */
export function packGradients(engine: Engine, head: Head, loss: number, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(messageBytes(head));
  const view = new DataView(bytes.buffer);
  for (const [i, word] of wordsOf(head).entries()) view.setUint32(4 * i, word, true);
  view.setFloat64(24, head.count, true);
  view.setFloat64(32, loss, true);
  const { count } = head;
  if (head.format === "f32") new Float32Array(bytes.buffer, HEAD, count).set(values);
  else {
    const codes = bytes.subarray(HEAD, HEAD + count);
    engine.quantize(values, [count], schemes.mxfp8, { out: { codes, scales: bytes.subarray(HEAD + count) } });
  }
  return bytes;
}

/**
 * Reads a message, which another program may have written.
 * @throws BlockscaleError `format`: it is not the one that was expected
 */
export function unpackGradients(
  engine: Engine,
  head: Head,
  bytes: Uint8Array,
): { readonly loss: number; readonly values: Float32Array } {
  const { rank, count, format } = head;
  if (bytes.length !== messageBytes(head))
    throw refused(rank, `${messageBytes(head)} bytes`, `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const got = [0, 1, 2, 3, 4, 5].map((i) => view.getUint32(4 * i, true));
  const words = wordsOf(head);
  if (!words.every((word, i) => word === got[i]) || view.getFloat64(24, true) !== count)
    throw refused(rank, `a head of [${words}], ${count} values`, `[${got}], ${view.getFloat64(24, true)}`);
  const loss = view.getFloat64(32, true);
  const body = bytes.subarray(HEAD);
  // Copied, since what comes from Redis may begin at any address.
  if (format === "f32") return { loss, values: new Float32Array(new Uint8Array(body).buffer) };
  const tensor = {
    format: "e4m3",
    shape: [count],
    block,
    codes: body.subarray(0, count),
    scales: body.subarray(count),
  } as const;
  return { loss, values: engine.dequantize(tensor) };
}

function wordsOf({ format, step, rank, size }: Head): readonly number[] {
  return [MAGIC, GRADIENT_FORMATS.indexOf(format), step, rank, size, 0];
}

/**
 * The exchange of gradients among ranks. Each sends its own once, and takes those of all: the sum is float32
 * in the order of ranks, of what was sent, its own included. So all come to the same bits.
 */
export class GradientExchange implements DataParallel {
  readonly rank: number;
  readonly size: number;
  /** Bytes that this rank has sent and received. */
  readonly bytes: { sent: number; received: number } = { sent: 0, received: 0 };
  readonly #format: GradientFormat;
  readonly #transport: Transport;
  readonly #engine: Engine;
  #before: string | null = null;

  constructor(transport: Transport, { rank, size, format }: RankIdentity, engine: Engine) {
    this.rank = rank;
    this.size = size;
    this.#format = format;
    this.#transport = transport;
    this.#engine = engine;
  }

  async exchange({ step, loss, gradients }: RankStep): Promise<number> {
    const { rank, size } = this;
    const head = { format: this.#format, step, rank, size, count: gradients.length };
    const own = packGradients(this.#engine, head, loss, gradients);
    let losses = 0;
    await this.#gather(`step-${step}`, own, (from, bytes) => {
      const { loss, values } = unpackGradients(this.#engine, { ...head, rank: from }, bytes);
      losses += loss;
      if (from === 0) gradients.set(values);
      else for (let i = 0; i < values.length; i++) gradients[i]! += values[i]!;
    });
    return losses / size;
  }

  /**
   * Makes sure that all ranks have the same weights.
   * @param digest SHA-256 of this rank's, hexadecimal
   * @throws BlockscaleError `io`: another rank has others
   */
  async agree(step: number, digest: string): Promise<void> {
    await this.#gather(`weights-${step}`, Buffer.from(digest, "hex"), (from, bytes) => {
      if (Buffer.from(bytes).toString("hex") === digest) return;
      throw new BlockscaleError("io", {
        where: `train: step ${step}`,
        expected: `the same weights on all ranks`,
        got: `others on rank ${from} than on rank ${this.rank}`,
        fix: "Run all ranks on the same version of Node and the same kind of processor, from the last checkpoint.",
      });
    });
  }

  /** @param take called for all ranks in their order */
  async #gather(
    name: string,
    own: Uint8Array,
    take: (from: number, bytes: Uint8Array) => void,
  ): Promise<void> {
    await this.#transport.send(name, own);
    this.bytes.sent += own.length;
    for (let from = 0; from < this.size; from++) {
      if (from === this.rank) take(from, own);
      else {
        take(from, await this.#transport.receive(from, name, own.length));
        this.bytes.received += own.length;
      }
    }
    // A rank that has sent this message has read all messages before it: the one before can go.
    if (this.#before !== null) await this.#transport.forget(this.#before);
    this.#before = name;
  }
}

function refused(rank: number, expected: string, got: string): BlockscaleError {
  return new BlockscaleError("format", {
    where: `train: the gradients of rank ${rank}`,
    expected,
    got,
    fix: "Give this run a Redis of its own, or a database of its own (redis://HOST:PORT/1).",
  });
}
