import type { Instance } from "../wasm/instantiate.ts";
import type { DecoderConfig, ModelConfig } from "./config.ts";
import { anglesOf, Decoder, DecoderHead, DecoderLayer, type ForwardOutput, lookUp } from "./decoder.ts";
import { Encoder } from "./encoder.ts";
import type { ExchangeMemory } from "./exchange.ts";
import type { DeclaredRows, LoadedRows } from "./loaded-tensor.ts";
import type { ExpertRange } from "./mlp.ts";
import type { Precisions } from "./precisions.ts";
import { Program } from "./program.ts";
import type { Team } from "./team.ts";

/** A request that all members carry out together. */
export type ModelRequest =
  | { readonly kind: "forward"; readonly ids: Int32Array; readonly output: ForwardOutput }
  | { readonly kind: "encode"; readonly texts: readonly Int32Array[] }
  /** Keeps the first tokens of the context and forgets the rest. */
  | { readonly kind: "truncate"; readonly length: number }
  | LayerRequest;

/**
 * Requests that run a model layer by layer, so that only one layer's weights have to be in memory. The caller
 * keeps the hidden states x [tokens, hidden]. The answer is the new x, unless a comment says otherwise. A
 * member in the caller's thread writes an answer of this shape into the array that it was given.
 */
export type LayerRequest =
  | { readonly kind: "embed"; readonly config: DecoderConfig; readonly ids: Int32Array }
  | {
      readonly kind: "layer" | "attend";
      readonly config: DecoderConfig;
      readonly layer: number;
      readonly x: Float32Array;
    }
  /** The answer: the number of tokens that are routed to each expert. */
  | {
      readonly kind: "counts";
      readonly config: DecoderConfig;
      readonly layer: number;
      readonly x: Float32Array;
    }
  /** The answer: what some experts would add to x. */
  | {
      readonly kind: "experts";
      readonly config: DecoderConfig;
      readonly layer: number;
      readonly x: Float32Array;
      readonly experts: ExpertRange;
    }
  /** The answer: logits. */
  | { readonly kind: "head"; readonly config: DecoderConfig; readonly x: Float32Array }
  /** Frees the weights whose keys begin with a prefix. There is no answer. */
  | { readonly kind: "drop"; readonly prefix: string };

/** One of the threads that run a model together, with its share of the weights and the passes over them. */
export class Member {
  readonly #program: Program;
  #pass: Decoder | Encoder | undefined;
  #layer: { readonly index: number; readonly built: DecoderLayer } | undefined;

  constructor(instance: Instance, team: Team, shared: ExchangeMemory | null, precisions: Precisions) {
    this.#program = new Program(instance, team, shared, precisions);
  }

  growFor(bytes: number): void {
    this.#program.store.growFor(bytes);
  }

  declare(declared: DeclaredRows): void {
    this.#program.store.declare(declared);
  }

  fill(loaded: LoadedRows): void {
    this.#program.store.fill(loaded);
  }

  seal(key: string): void {
    this.#program.store.seal(key);
  }

  /** Builds the forward pass. Call it when all weights are loaded. */
  start(config: ModelConfig): void {
    this.#pass =
      config.kind === "decoder" ? new Decoder(this.#program, config) : new Encoder(this.#program, config);
  }

  /** @returns the results of the first member, for requests that have any */
  run(request: ModelRequest): Float32Array | undefined {
    const pass = this.#pass;
    try {
      if (request.kind === "encode") return (pass as Encoder).forward(request.texts);
      if (request.kind === "forward") return (pass as Decoder).forward(request.ids, request.output);
      if (request.kind === "truncate") (pass as Decoder).truncate(request.length);
      else return this.#runLayer(request);
      return undefined;
    } catch (error) {
      this.#program.exchange.fail();
      throw error;
    }
  }

  #runLayer(request: LayerRequest): Float32Array | undefined {
    const program = this.#program;
    if (request.kind === "drop") {
      program.store.drop(request.prefix);
      this.#layer?.built.free();
      this.#layer = undefined;
      return undefined;
    }
    const { config } = request;
    const { hidden } = config;
    const isFirst = program.team.member === 0;
    if (request.kind === "embed") {
      const { length } = request.ids;
      const address = lookUp(program, config, request.ids);
      return isFirst ? program.view(address, length * hidden).slice() : undefined;
    }
    const tokens = request.x.length / hidden;
    const x = program.floats("x", tokens * hidden);
    program.view(x, tokens * hidden).set(request.x);
    if (request.kind === "head") return new DecoderHead(program, config).apply(x, tokens, false);
    if (this.#layer?.index !== request.layer) {
      this.#layer?.built.free();
      this.#layer = { index: request.layer, built: new DecoderLayer(program, config, request.layer) };
    }
    const { built } = this.#layer;
    if (request.kind === "counts") {
      const counts = built.expertCounts(x, tokens);
      return isFirst ? counts : undefined;
    }
    // A new array for each chunk would be tens of megabytes of garbage before it is collected.
    const result = (address: number) => {
      if (isFirst) request.x.set(program.view(address, tokens * hidden));
      return isFirst ? request.x : undefined;
    };
    if (request.kind === "experts") return result(built.applyExperts(x, tokens, request.experts));
    const angles = anglesOf(program, config, 0, tokens);
    if (request.kind === "layer") built.apply(x, tokens, 0, angles);
    else built.attend(x, tokens, 0, angles);
    return result(x);
  }
}
