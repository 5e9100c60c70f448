import { BlockscaleError } from "../tensor/errors.ts";
import { nodeThreads } from "./node.ts";
import type { Reply } from "./protocol.ts";

/**
 * In a worker of any host: answers each message in turn. A message without an id is the
 * first one, which says what the worker runs.
 * @param perform does what a message asks; what it throws becomes the answer
 * @param answered is told after each answer
 */
export function serveMessages<Message extends object>(
  perform: (message: Message) => Reply["result"],
  answered: (reply: Reply) => void = () => {},
): void {
  const answer = (message: Message): Reply => {
    const id = "id" in message ? (message.id as number) : undefined;
    try {
      return { id, result: perform(message) };
    } catch (error) {
      if (error instanceof BlockscaleError) return { id, error: { code: error.code, fault: error.fault } };
      return { id, error: { message: String(error) } };
    }
  };
  const receive = (message: Message, post: (reply: Reply, transfer: ArrayBuffer[]) => void): void => {
    const reply = answer(message);
    post(reply, reply.result ? [reply.result.buffer as ArrayBuffer] : []);
    answered(reply);
  };
  const port = nodeThreads()?.parentPort;
  if (port) {
    port.on("message", (message: Message) => receive(message, (...reply) => port.postMessage(...reply)));
    return;
  }
  const scope = globalThis as unknown as {
    onmessage: (event: { data: Message }) => void;
    postMessage(message: Reply, transfer: ArrayBuffer[]): void;
  };
  scope.onmessage = ({ data }) => receive(data, (...reply) => scope.postMessage(...reply));
}
