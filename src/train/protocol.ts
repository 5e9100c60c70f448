import type { ExchangeMemory } from "../model/exchange.ts";
import type { Team } from "../model/team.ts";
import type { TrainingRequest, TrainingSetup } from "./member.ts";

/** Sent first to a worker, and answered without an id. */
export interface TrainingOpening {
  readonly module: WebAssembly.Module;
  /** Memory of all members, and of the thread that asks them. */
  readonly memory: WebAssembly.Memory;
  readonly team: Team;
  readonly shared: ExchangeMemory;
  readonly setup: TrainingSetup;
}

export type TrainingMessage = TrainingOpening | { readonly id: number; readonly task: TrainingRequest };
