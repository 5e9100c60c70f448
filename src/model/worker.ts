import { BlockscaleError } from "../tensor/errors.ts";
import { nodeThreads } from "../threads/node.ts";
import type { Reply } from "../threads/protocol.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { Member } from "./member.ts";
import type { Message, Task } from "./protocol.ts";

/** What a worker of `openModel` runs: one member of those who run the model. */

let member: Member | undefined;

function perform(task: Task): Float32Array | undefined {
  const seated = member as Member;
  if (task.kind === "declare") seated.declare(task.declared);
  else if (task.kind === "fill") seated.fill(task.filling);
  else if (task.kind === "seal") seated.seal(task.key);
  else if (task.kind === "start") seated.start(task.config, task.cache);
  else return seated.run(task.request);
  return undefined;
}

function answer(message: Message): Reply {
  const id = "id" in message ? message.id : undefined;
  try {
    if ("id" in message) return { id, result: perform(message.task) };
    member = new Member(instantiate(message.module), message.seat, message.shared, message.precisions);
    return { id };
  } catch (error) {
    if (error instanceof BlockscaleError) return { id, error: { code: error.code, fault: error.fault } };
    return { id, error: { message: String(error) } };
  }
}

function receive(message: Message, post: (reply: Reply, transfer: ArrayBuffer[]) => void): void {
  const reply = answer(message);
  post(reply, reply.result ? [reply.result.buffer as ArrayBuffer] : []);
}

const port = nodeThreads()?.parentPort;
if (port) {
  port.on("message", (message: Message) => receive(message, (...reply) => port.postMessage(...reply)));
} else {
  const scope = globalThis as unknown as {
    onmessage: (event: { data: Message }) => void;
    postMessage(message: Reply, transfer: ArrayBuffer[]): void;
  };
  scope.onmessage = ({ data }) => receive(data, (...reply) => scope.postMessage(...reply));
}
