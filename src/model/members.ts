import { lentScript } from "../threads/lend.ts";
import { RequestThread } from "../threads/request-thread.ts";
import { canShare, isPage, type Script } from "../threads/start.ts";
import { type Instance, instantiate } from "../wasm/instantiate.ts";
import type { ModelConfig } from "./config.ts";
import { answersOf, type ExchangeMemory, makeExchangeMemory } from "./exchange.ts";
import type { WeightReceiver } from "./load.ts";
import { Member, type ModelRequest } from "./member.ts";
import type { Precisions } from "./precisions.ts";
import type { ModelOpening, ModelTask } from "./protocol.ts";
import { SCRIPT } from "./script.ts";
import { yieldToHost } from "./yield-to-host.ts";

/** All members that run a model together, in this thread or in workers. */
export interface Members {
  readonly receivers: readonly WeightReceiver[];
  start(config: ModelConfig): Promise<void>;
  /** @returns what the first member says */
  run(request: ModelRequest): Promise<Float32Array | undefined>;
  close(): Promise<void>;
}

/** Values that members exchange at a time: 8 MiB, twice. */
const EXCHANGE_VALUES = 2 ** 21;

/**
 * Opens one member in this thread, if one thread is asked for and this is no page; else members in workers,
 * of which there is one alone where memory cannot be shared.
 * @param inWorkers workers even for one member: this thread has something else to do meanwhile
 * @param lender makes the workers in place of this thread
 * @param memory for a member in this thread: also that of an earlier one, if it is closed
 * @throws BlockscaleError `option`: there are no workers here; `wasm`
 */
export async function openMembers(
  module: WebAssembly.Module,
  threads: number,
  precisions: Precisions,
  {
    inWorkers = isPage(),
    lender,
    memory,
  }: {
    readonly inWorkers?: boolean | undefined;
    readonly lender?: MessagePort | undefined;
    readonly memory?: WebAssembly.Memory | undefined;
  },
): Promise<Members> {
  if (threads === 1 && !inWorkers) return new LocalMembers(instantiate(module, memory), precisions);
  const size = canShare() ? threads : 1;
  const shared = size > 1 ? makeExchangeMemory(EXCHANGE_VALUES) : null;
  const members = new WorkerMembers(shared);
  await members.open(lentScript(SCRIPT, lender), module, size, precisions);
  return members;
}

class LocalMembers implements Members {
  readonly #member: Member;
  readonly receivers: readonly WeightReceiver[];

  constructor(instance: Instance, precisions: Precisions) {
    this.#member = new Member(instance, { member: 0, size: 1 }, null, precisions);
    this.receivers = [this.#member];
  }

  async start(config: ModelConfig): Promise<void> {
    this.#member.start(config);
  }

  async run(request: ModelRequest): Promise<Float32Array | undefined> {
    await yieldToHost();
    return this.#member.run(request);
  }

  async close(): Promise<void> {}
}

/** A member in a worker, which answers in turn. */
class RemoteMember extends RequestThread<ModelTask> implements WeightReceiver {
  async growFor(bytes: number): Promise<void> {
    await this.ask({ kind: "growFor", bytes });
  }

  async declare(declared: Parameters<WeightReceiver["declare"]>[0]): Promise<void> {
    await this.ask({ kind: "declare", declared });
  }

  async fill(loaded: Parameters<WeightReceiver["fill"]>[0]): Promise<void> {
    const values = withOwnBuffer(loaded.values);
    const scales = loaded.scales === null ? null : withOwnBuffer(loaded.scales);
    const buffers = scales === null ? [values.buffer] : [values.buffer, scales.buffer];
    await this.ask({ kind: "fill", loaded: { ...loaded, values, scales } }, buffers);
  }

  async seal(key: string): Promise<void> {
    await this.ask({ kind: "seal", key });
  }
}

/** Bytes with a buffer of their own can go over to another thread; a part of one is copied. */
function withOwnBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return (bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()) as Uint8Array<ArrayBuffer>;
}

class WorkerMembers implements Members {
  readonly #shared: ExchangeMemory | null;
  #members: readonly RemoteMember[] = [];

  constructor(shared: ExchangeMemory | null) {
    this.#shared = shared;
  }

  async open(
    script: Script,
    module: WebAssembly.Module,
    size: number,
    precisions: Precisions,
  ): Promise<void> {
    this.#members = Array.from({ length: size }, () => new RemoteMember());
    try {
      await this.#all((remote, member) => {
        const opening: ModelOpening = { module, team: { member, size }, shared: this.#shared, precisions };
        return remote.start(script, opening);
      });
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  get receivers(): readonly WeightReceiver[] {
    return this.#members;
  }

  async start(config: ModelConfig): Promise<void> {
    await this.#all((member) => member.ask({ kind: "start", config }));
  }

  async run(request: ModelRequest): Promise<Float32Array | undefined> {
    const answers = await this.#all((member) => member.ask({ kind: "run", request }));
    return answers[0] as Float32Array | undefined;
  }

  #all<T>(action: (remote: RemoteMember, member: number) => Promise<T>): Promise<T[]> {
    return answersOf(this.#shared, this.#members.map(action));
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
  }
}
