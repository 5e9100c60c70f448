import { BlockscaleError } from "../tensor/errors.ts";
import type { AnswerPorts } from "./lend.ts";
import { nodeThreads } from "./node.ts";
import type { Reply } from "./protocol.ts";

/**
 * In a worker of any host: answers each message in turn. A message without an id is the
 * first one, which says what the worker runs. Ports that it is sent are answered as well.
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
  const receive = (message: Message | AnswerPorts, requester: Requester): void => {
    if ("ports" in message) {
      for (const port of message.ports) port.onmessage = ({ data }) => receive(data, port);
      requester.postMessage({ id: undefined }, []);
      return;
    }
    const reply = answer(message);
    requester.postMessage(reply, reply.result ? [reply.result.buffer as ArrayBuffer] : []);
    answered(reply);
  };
  const port = nodeThreads()?.parentPort;
  if (port) {
    port.on("message", (message: Message | AnswerPorts) => receive(message, port));
    return;
  }
  const scope = globalThis as unknown as Requester & { onmessage: (event: { data: Message }) => void };
  scope.onmessage = ({ data }) => receive(data, scope);
}

/** Where answers go. */
interface Requester {
  postMessage(message: Reply, transfer: ArrayBuffer[]): void;
}
