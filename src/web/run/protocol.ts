import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { Problem } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";

/** The model as it was opened, and what a conversion made of it. */
export type ModelSide = "original" | "converted";

/** Facts of an open model. */
export interface ModelFacts {
  readonly name: string;
  readonly architecture: string;
  readonly parameters: number;
  /** Bytes of its weights in the files. */
  readonly bytes: number;
  readonly context: number;
  /** Threads that share its work. */
  readonly threads: number;
  /** Whether it predicts tokens; encoders make vectors. */
  readonly writes: boolean;
  readonly hasTokenizer: boolean;
  readonly hasChat: boolean;
}

/** What a conversion made. */
export interface ConvertedModel {
  readonly to: DialectName;
  readonly bytes: number;
  /** Tensors that changed. */
  readonly changed: number;
}

/** How a text is continued. Temperature 0 takes the most probable token. */
export interface Continuing {
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** A token of a text. */
export interface Token {
  readonly id: number;
  readonly text: string;
}

/** A token that a model finds likely, with the probability that each model gives it. */
export interface TokenCandidate extends Token {
  readonly original: number;
  /** `null` where nothing was converted. */
  readonly converted: number | null;
}

/** What both models expected in the place of a token of the original's text. */
export interface Position extends Token {
  /** The likeliest five of each, the original's likeliest first. */
  readonly candidates: readonly TokenCandidate[];
  /** KL divergence in nats; `null` where nothing was converted. */
  readonly divergence: number | null;
}

/** Tokens a second that a model wrote, the reading of the prompt left out; `null` after fewer than two. */
export type Speed = number | null;

/**
 * The figures of a measurement, some with their standard errors. Divergences are in nats; `sameTop` is a
 * share from 0 to 1, `rmsDeltaP` a difference of probabilities.
 */
export interface MeasuredText {
  readonly tokens: number;
  readonly context: number;
  readonly perplexityBase: readonly [value: number, error: number];
  readonly perplexity: readonly [value: number, error: number];
  readonly kldMean: readonly [value: number, error: number];
  readonly kldMedian: number;
  readonly kld99: number;
  readonly kldMax: number;
  readonly sameTop: readonly [value: number, error: number];
  readonly rmsDeltaP: readonly [value: number, error: number];
  /** The tokens at which both differ most, the text before them, and the probability that each gave. */
  readonly worst: readonly {
    readonly before: string;
    readonly token: string;
    readonly original: number;
    readonly converted: number;
    readonly divergence: number;
  }[];
}

export interface ChatTurn {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** Page to worker. */
export type ModelOrder =
  /** With a port of workers that the page makes for its models. */
  | { readonly kind: "open"; readonly chosen: ChosenCheckpoint; readonly workers: MessagePort }
  /** `null` takes the converted model away. */
  | { readonly kind: "convert"; readonly to: DialectName | null }
  | { readonly kind: "continue"; readonly how: Continuing }
  | {
      readonly kind: "chat";
      readonly side: ModelSide;
      readonly turns: readonly ChatTurn[];
      readonly temperature: number;
    }
  | { readonly kind: "measure"; readonly text: string }
  | { readonly kind: "stop" };

/** Worker to page. */
export type ModelNews =
  | { readonly kind: "opened"; readonly facts: ModelFacts }
  | { readonly kind: "converted"; readonly converted: ConvertedModel | null }
  /** How much of the opening, the conversion or the measurement is done, from 0 to 1. */
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "token"; readonly side: ModelSide; readonly token: Token }
  | { readonly kind: "speed"; readonly side: ModelSide; readonly speed: Speed }
  | { readonly kind: "positions"; readonly positions: readonly Position[] }
  | { readonly kind: "measured"; readonly measured: MeasuredText }
  /** What was ordered is done, or was stopped. */
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly problem: Problem };
