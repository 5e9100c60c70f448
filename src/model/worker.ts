import { serveMessages } from "../threads/serve.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { Member } from "./member.ts";
import type { ModelMessage, ModelTask } from "./protocol.ts";

/** The script of a worker thread of `openModel`: one member. */

let member: Member | undefined;

function perform(task: ModelTask): Float32Array | undefined {
  const mine = member as Member;
  if (task.kind === "expect") mine.expect(task.bytes);
  else if (task.kind === "declare") mine.declare(task.declared);
  else if (task.kind === "fill") mine.fill(task.filling);
  else if (task.kind === "seal") mine.seal(task.key);
  else if (task.kind === "start") mine.start(task.config);
  else return mine.run(task.request);
  return undefined;
}

serveMessages<ModelMessage>((message) => {
  if ("id" in message) return perform(message.task);
  member = new Member(instantiate(message.module), message.team, message.shared, message.precisions);
  return undefined;
});
