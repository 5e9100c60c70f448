import type { BlockscaleError } from "../tensor/errors.ts";
import { dead, errorOf, type Reply } from "./protocol.ts";
import { openThread, type Script, type Thread } from "./start.ts";

interface Waiting {
  resolve(result: Reply["result"]): void;
  reject(error: Error): void;
}

/** A worker that answers tasks in turn, each with an id, after a first message that says what it runs. */
export class RequestThread<Request> {
  #thread: Thread | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #end: BlockscaleError | undefined;

  /** @throws BlockscaleError `option`: there are no workers here, or they are blocked */
  async start(script: Script, opening: unknown): Promise<void> {
    this.#thread = await openThread(script, opening, {
      reply: (reply) => this.#settle(reply),
      died: (reason) => this.#stop(dead(reason)),
    });
  }

  ask(task: Request, transfer: ArrayBuffer[] = []): Promise<Reply["result"]> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      this.#thread!.keepAlive(true);
      this.#thread!.post({ id, task }, transfer);
    });
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id!);
    this.#waiting.delete(id!);
    if (this.#waiting.size === 0) this.#thread!.keepAlive(false);
    if (error) waiting?.reject(errorOf(error));
    else waiting?.resolve(result);
  }

  #stop(error: BlockscaleError): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }

  async close(): Promise<void> {
    this.#stop(dead("it was closed"));
    await this.#thread?.terminate();
  }
}
