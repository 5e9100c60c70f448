import { Engine } from "../engine/engine.ts";
import type { PackedWeights } from "../products/packed.ts";
import { instantiate } from "../wasm/instantiate.ts";
import type { Start, Task } from "./protocol.ts";

/** The engine of a thread. */
export function engineOf({ module, variant }: Start): Engine {
  return new Engine(instantiate(module), variant);
}

/** Performs the tasks of one thread on an engine of its own, which has some rows of the weights in memory. */
export class GemmRunner {
  readonly #engine: Engine;
  readonly #packed: Map<number, PackedWeights> = new Map();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  run(task: Task): Float32Array | Uint16Array | undefined {
    switch (task.kind) {
      case "pack":
        this.#packed.set(task.key, this.#engine.pack(task.w, task.options));
        return undefined;
      case "free":
        this.#packed.get(task.key)?.free();
        this.#packed.delete(task.key);
        return undefined;
      case "gemm": {
        if (task.faster) this.#engine.fasterActivations = task.faster;
        const w = typeof task.w === "number" ? (this.#packed.get(task.w) as PackedWeights) : task.w;
        return this.#engine.gemm(task.x, w, task.options as { type: "bf16" });
      }
    }
  }
}
