import type { Engine } from "../engine.ts";
import type { ErrorCode, Fault } from "../errors.ts";
import type { GemmOptions, LeftOperand } from "../gemm.ts";
import type { BlockScaled } from "../tensor.ts";

/** What a worker is asked: to take weights, to multiply by some of them, to forget them. */
export type Task =
  | { readonly kind: "pack"; readonly key: number; readonly w: BlockScaled }
  | {
      readonly kind: "gemm";
      readonly x: LeftOperand;
      /** Weights, or the key of packed ones. */
      readonly w: BlockScaled | number;
      readonly options: Omit<GemmOptions, "out">;
    }
  | { readonly kind: "free"; readonly key: number };

/** Sent once: what the worker runs. */
export interface Start {
  readonly module: WebAssembly.Module;
  readonly variant: Engine["variant"];
}

export interface Request {
  readonly id: number;
  readonly task: Task;
}

/** The answer to a request, with the result of a product, or with what went wrong. */
export interface Reply {
  readonly id: number;
  readonly result?: Float32Array | Uint16Array | undefined;
  readonly error?: { readonly code: ErrorCode; readonly fault: Fault } | { readonly message: string };
}
