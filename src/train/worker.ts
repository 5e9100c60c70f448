// The script of a worker thread of `createTrainer`: one member.
import { serveMessages } from "../threads/serve.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { TrainingMember } from "./member.ts";
import type { TrainingMessage } from "./protocol.ts";

let member: TrainingMember | undefined;

serveMessages<TrainingMessage>((message) => {
  if ("id" in message) member!.run(message.task);
  else {
    const { module, memory, team, shared, setup } = message;
    member = new TrainingMember(instantiate(module, memory), team, shared, setup);
  }
  return undefined;
});
