// The script of a worker thread of `openModel`: one member.
import { serveMessages } from "../threads/serve.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { Member } from "./member.ts";
import type { ModelMessage, ModelTask } from "./protocol.ts";

let member: Member | undefined;

function perform(task: ModelTask): Float32Array | undefined {
  const own = member as Member;
  if (task.kind === "growFor") own.growFor(task.bytes);
  else if (task.kind === "declare") own.declare(task.declared);
  else if (task.kind === "fill") own.fill(task.loaded);
  else if (task.kind === "seal") own.seal(task.key);
  else if (task.kind === "start") own.start(task.config);
  else return own.run(task.request);
  return undefined;
}

serveMessages<ModelMessage>((message) => {
  if ("id" in message) return perform(message.task);
  member = new Member(instantiate(message.module), message.team, message.shared, message.precisions);
  return undefined;
});
