import { serveMessages } from "../threads/serve.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { Member } from "./member.ts";
import type { Message, Task } from "./protocol.ts";

/** What a worker of `openModel` runs: one member of those who run the model. */

let member: Member | undefined;

function perform(task: Task): Float32Array | undefined {
  const seated = member as Member;
  if (task.kind === "expect") seated.expect(task.bytes);
  else if (task.kind === "declare") seated.declare(task.declared);
  else if (task.kind === "fill") seated.fill(task.filling);
  else if (task.kind === "seal") seated.seal(task.key);
  else if (task.kind === "start") seated.start(task.config);
  else return seated.run(task.request);
  return undefined;
}

serveMessages<Message>((message) => {
  if ("id" in message) return perform(message.task);
  member = new Member(instantiate(message.module), message.seat, message.shared, message.precisions);
  return undefined;
});
