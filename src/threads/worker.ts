import { Engine } from "../engine.ts";
import { BlockscaleError } from "../errors.ts";
import type { PackedWeights } from "../pack.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { nodeThreads } from "./node.ts";
import type { Reply, Request, Start, Task } from "./protocol.ts";

/** What a worker of `load({ threads })` runs: an engine with its part of the weights. */

let engine: Engine | undefined;
const packed = new Map<number, PackedWeights>();

function run(task: Task): Float32Array | Uint16Array | undefined {
  const fp8 = engine as Engine;
  switch (task.kind) {
    case "pack":
      packed.set(task.key, fp8.pack(task.w));
      return undefined;
    case "free":
      packed.get(task.key)?.free();
      packed.delete(task.key);
      return undefined;
    case "gemm": {
      const w = typeof task.w === "number" ? (packed.get(task.w) as PackedWeights) : task.w;
      return fp8.gemm(task.x, w, task.options as { type: "bf16" });
    }
  }
}

function answer({ id, task }: Request): Reply {
  try {
    return { id, result: run(task) };
  } catch (error) {
    if (error instanceof BlockscaleError) return { id, error: { code: error.code, fault: error.fault } };
    return { id, error: { message: String(error) } };
  }
}

function receive(message: Start | Request, post: (reply: Reply, transfer: ArrayBuffer[]) => void): void {
  if ("module" in message) {
    engine = new Engine(instantiate(message.module), message.variant);
    return;
  }
  const reply = answer(message);
  post(reply, reply.result ? [reply.result.buffer as ArrayBuffer] : []);
}

const port = nodeThreads()?.parentPort;
if (port) {
  port.on("message", (message: Start | Request) =>
    receive(message, (...reply) => port.postMessage(...reply)),
  );
} else {
  const scope = globalThis as unknown as {
    onmessage: (event: { data: Start | Request }) => void;
    postMessage(message: Reply, transfer: ArrayBuffer[]): void;
  };
  scope.onmessage = ({ data }) => receive(data, (...reply) => scope.postMessage(...reply));
}
