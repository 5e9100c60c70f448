import type { Instance } from "../wasm/instantiate.ts";
import type { CacheType } from "./cache.ts";
import type { ModelConfig } from "./config.ts";
import { Decoder, type Wanted } from "./decoder.ts";
import { Encoder } from "./encoder.ts";
import type { Shared } from "./exchange.ts";
import { Program } from "./program.ts";
import type { Seat } from "./share.ts";
import type { Declared, Filling } from "./store.ts";

/** What members are asked to do, all of them the same. */
export type Request =
  | { readonly kind: "forward"; readonly ids: Int32Array; readonly wanted: Wanted }
  | { readonly kind: "encode"; readonly texts: readonly Int32Array[] }
  /** Keeps the first tokens of the context and forgets the rest. */
  | { readonly kind: "truncate"; readonly length: number };

/** One of those who run a model together: a share of its weights, and the passes over them. */
export class Member {
  readonly #program: Program;
  #pass: Decoder | Encoder | undefined;

  constructor(instance: Instance, seat: Seat, shared: Shared | null) {
    this.#program = new Program(instance, seat, shared);
  }

  declare(declared: Declared): void {
    this.#program.store.declare(declared);
  }

  fill(filling: Filling): void {
    this.#program.store.fill(filling);
  }

  seal(key: string): void {
    this.#program.store.seal(key);
  }

  /** All weights are there. */
  start(config: ModelConfig, cache: CacheType): void {
    this.#pass =
      config.kind === "decoder"
        ? new Decoder(this.#program, config, cache)
        : new Encoder(this.#program, config);
  }

  /** @returns the results of the first member, for requests that have any */
  run(request: Request): Float32Array | undefined {
    const pass = this.#pass;
    try {
      if (request.kind === "encode") return (pass as Encoder).forward(request.texts);
      if (request.kind === "forward") return (pass as Decoder).forward(request.ids, request.wanted);
      (pass as Decoder).truncate(request.length);
      return undefined;
    } catch (error) {
      this.#program.exchange.fail();
      throw error;
    }
  }

  /** Of memory, in bytes. */
  get bytes(): number {
    return this.#program.buffer.byteLength;
  }
}
