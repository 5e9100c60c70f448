import type { Engine } from "../engine/engine.ts";
import type { PackOptions } from "../products/packed.ts";
import type { GemmOptions, LeftOperand } from "../products/products.ts";
import { BlockscaleError, type ErrorCode, type Fault } from "../tensor/errors.ts";
import type { BlockScaled } from "../tensor/tensor.ts";
import type { Counters } from "./spin.ts";

/** What a thread is asked: to take weights, to multiply by some of them, to forget them. */
export type Task =
  | { readonly kind: "pack"; readonly key: number; readonly w: BlockScaled; readonly options: PackOptions }
  | {
      readonly kind: "gemm";
      readonly x: LeftOperand;
      /** Weights, or the key of packed ones. */
      readonly w: BlockScaled | number;
      readonly options: Omit<GemmOptions, "out">;
      /** What "auto" means, so that all threads take the same way. */
      readonly faster?: "f32" | "int8" | undefined;
    }
  | { readonly kind: "free"; readonly key: number };

/** Sent first, and answered without an id: the build that the worker's engine runs. */
export interface Start {
  readonly module: WebAssembly.Module;
  readonly variant: Engine["variant"];
  /** Left out where nothing can be shared, and on a page, which needs the cores that would spin. */
  readonly counters?: Counters | undefined;
}

export interface Request {
  readonly id: number;
  readonly task: Task;
}

export type Message = Start | Request;

/** The answer to a message, with the result of a product, or with what went wrong. */
export interface Reply {
  readonly id: number | undefined;
  readonly result?: Float32Array | Uint16Array | undefined;
  readonly error?: { readonly code: ErrorCode; readonly fault: Fault } | { readonly message: string };
}

/** What went wrong in a worker, in the thread that asked. */
export function errorOf(error: NonNullable<Reply["error"]>): BlockscaleError {
  return "fault" in error ? new BlockscaleError(error.code, error.fault) : dead(error.message);
}

export function dead(reason: string): BlockscaleError {
  return new BlockscaleError("internal", {
    where: "threads",
    expected: "workers that run until close()",
    got: `one that died: ${reason}`,
    fix: "Its share of the weights is lost: close this engine, load another one and pack again.",
  });
}
