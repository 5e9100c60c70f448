import { source } from "#model-worker";
import type { BlockscaleError } from "../tensor/errors.ts";
import { dead, errorOf, type Reply } from "../threads/protocol.ts";
import { canShare, isPage, openThread, type Script, type Thread } from "../threads/start.ts";
import { instantiate } from "../wasm/instantiate.ts";
import type { ModelConfig } from "./config.ts";
import { Exchange, makeShared, type Shared } from "./exchange.ts";
import type { Taker } from "./load.ts";
import { Member, type Request } from "./member.ts";
import type { Precisions } from "./precisions.ts";
import type { Opening, Task } from "./protocol.ts";

const SCRIPT: Script = {
  source,
  open: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};

/** All members that run a model together, in this thread or in workers. */
export interface Crew {
  readonly takers: readonly Taker[];
  start(config: ModelConfig): Promise<void>;
  /** @returns what the first member says */
  run(request: Request): Promise<Float32Array | undefined>;
  close(): Promise<void>;
}

/** Values that members exchange at a time: 8 MiB, twice. */
const EXCHANGED = 2 ** 21;

/**
 * One member in this thread, if that is all and it is no page; else workers. Without memory that can be shared there is one.
 * @throws BlockscaleError `option`: there are no workers here; `wasm`
 */
export async function openCrew(
  module: WebAssembly.Module,
  threads: number,
  precisions: Precisions,
): Promise<Crew> {
  if (threads === 1 && !isPage()) return new LocalCrew(module, precisions);
  const size = canShare() ? threads : 1;
  const shared = size > 1 ? makeShared(EXCHANGED) : null;
  const crew = new WorkerCrew(shared);
  await crew.open(module, size, precisions);
  return crew;
}

class LocalCrew implements Crew {
  readonly #member: Member;
  readonly takers: readonly Taker[];

  constructor(module: WebAssembly.Module, precisions: Precisions) {
    this.#member = new Member(instantiate(module), { rank: 0, size: 1 }, null, precisions);
    this.takers = [this.#member];
  }

  async start(config: ModelConfig): Promise<void> {
    this.#member.start(config);
  }

  async run(request: Request): Promise<Float32Array | undefined> {
    return this.#member.run(request);
  }

  async close(): Promise<void> {}
}

interface Waiting {
  resolve(result: Float32Array | undefined): void;
  reject(error: Error): void;
}

/** A member in a worker, which answers in turn. */
class RemoteMember implements Taker {
  #thread: Thread | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #end: BlockscaleError | undefined;

  async open(opening: Opening): Promise<void> {
    this.#thread = await openThread(SCRIPT, opening, {
      reply: (reply) => this.#settle(reply),
      died: (reason) => this.#stop(dead(reason)),
    });
  }

  ask(task: Task, transfer: ArrayBuffer[] = []): Promise<Float32Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      this.#thread!.hold(true);
      this.#thread!.post({ id, task }, transfer);
    });
  }

  async declare(declared: Parameters<Taker["declare"]>[0]): Promise<void> {
    await this.ask({ kind: "declare", declared });
  }

  async fill(filling: Parameters<Taker["fill"]>[0]): Promise<void> {
    const { bytes } = filling;
    // Bytes with a buffer of their own go over; a part of one is copied.
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    await this.ask({ kind: "fill", filling: { ...filling, bytes: own } }, [own.buffer as ArrayBuffer]);
  }

  async seal(key: string): Promise<void> {
    await this.ask({ kind: "seal", key });
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id!);
    this.#waiting.delete(id!);
    if (this.#waiting.size === 0) this.#thread!.hold(false);
    if (error) waiting?.reject(errorOf(error));
    else waiting?.resolve(result as Float32Array | undefined);
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

class WorkerCrew implements Crew {
  readonly #shared: Shared | null;
  #members: readonly RemoteMember[] = [];

  constructor(shared: Shared | null) {
    this.#shared = shared;
  }

  async open(module: WebAssembly.Module, size: number, precisions: Precisions): Promise<void> {
    this.#members = Array.from({ length: size }, () => new RemoteMember());
    try {
      await this.#all((member, rank) =>
        member.open({ module, seat: { rank, size }, shared: this.#shared, precisions }),
      );
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  get takers(): readonly Taker[] {
    return this.#members;
  }

  async start(config: ModelConfig): Promise<void> {
    await this.#all((member) => member.ask({ kind: "start", config }));
  }

  async run(request: Request): Promise<Float32Array | undefined> {
    return (await this.#all((member) => member.ask({ kind: "run", request })))[0];
  }

  /** Does something with every member at once, and waits for all of them even if one fails. */
  async #all<T>(action: (member: RemoteMember, rank: number) => Promise<T>): Promise<T[]> {
    const settled = await Promise.allSettled(this.#members.map(action));
    const failures = settled.flatMap((one) => (one.status === "rejected" ? [one.reason as Error] : []));
    if (failures.length === 0) return settled.map((one) => (one as PromiseFulfilledResult<T>).value);
    if (this.#shared !== null) Exchange.reset(this.#shared);
    // Of several, the one that tells the cause: others say that a member has failed.
    throw (
      failures.find((error) => (error as BlockscaleError).fault?.where !== "model: threads") ?? failures[0]
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
  }
}
