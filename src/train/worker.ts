import { serveMessages } from "../threads/serve.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { Member } from "./member.ts";
import type { Message } from "./protocol.ts";

/** What a worker of `createTrainer` runs: one member of those who train the model. */

let member: Member | undefined;

serveMessages<Message>((message) => {
  if ("id" in message) member!.run(message.task);
  else {
    const { module, memory, seat, shared, plan } = message;
    member = new Member(instantiate(module, memory), seat, shared, plan);
  }
  return undefined;
});
