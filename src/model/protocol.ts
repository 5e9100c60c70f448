import type { ModelConfig } from "./config.ts";
import type { ExchangeMemory } from "./exchange.ts";
import type { DeclaredRows, LoadedRows } from "./loaded-tensor.ts";
import type { ModelRequest } from "./member.ts";
import type { Precisions } from "./precisions.ts";
import type { Team } from "./team.ts";

/** Sent first to a worker, and answered without an id. */
export interface ModelOpening {
  readonly module: WebAssembly.Module;
  readonly team: Team;
  readonly shared: ExchangeMemory | null;
  readonly precisions: Precisions;
}

/** What a worker is asked: to take weights in, and then to run requests. */
export type ModelTask =
  | { readonly kind: "growFor"; readonly bytes: number }
  | { readonly kind: "declare"; readonly declared: DeclaredRows }
  | { readonly kind: "fill"; readonly loaded: LoadedRows }
  | { readonly kind: "seal"; readonly key: string }
  | { readonly kind: "start"; readonly config: ModelConfig }
  | { readonly kind: "run"; readonly request: ModelRequest };

export interface ModelTaskMessage {
  readonly id: number;
  readonly task: ModelTask;
}

export type ModelMessage = ModelOpening | ModelTaskMessage;
