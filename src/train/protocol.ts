import type { Shared } from "../model/exchange.ts";
import type { Seat } from "../model/share.ts";
import type { Plan, Request } from "./member.ts";

/** Sent first to a worker, and answered without an id. */
export interface Opening {
  readonly module: WebAssembly.Module;
  /** Memory of all members, and of the thread that asks them. */
  readonly memory: WebAssembly.Memory;
  readonly seat: Seat;
  readonly shared: Shared;
  readonly plan: Plan;
}

export type Message = Opening | { readonly id: number; readonly task: Request };
