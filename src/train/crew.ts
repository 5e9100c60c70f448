import { source } from "#train-worker";
import { makeShared, type Shared, together } from "../model/exchange.ts";
import { AskedThread } from "../threads/asked.ts";
import type { Script } from "../threads/start.ts";
import type { Member, Plan, Request } from "./member.ts";
import type { Opening } from "./protocol.ts";

const SCRIPT: Script = {
  source,
  open: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};

/** All who train a model together, in this thread or in workers. */
export interface Crew {
  run(request: Request): Promise<void>;
  close(): Promise<void>;
}

/** The one member of this thread. */
export class LocalCrew implements Crew {
  readonly #member: Member;

  constructor(member: Member) {
    this.#member = member;
  }

  async run(request: Request): Promise<void> {
    this.#member.run(request);
  }

  async close(): Promise<void> {}
}

/** Workers that run the same program in lock-step, on one memory. */
export class WorkerCrew implements Crew {
  readonly #shared: Shared = makeShared(0);
  readonly #threads: readonly AskedThread<Request>[];

  private constructor(size: number) {
    this.#threads = Array.from({ length: size }, () => new AskedThread<Request>());
  }

  /** @throws BlockscaleError `option`: there are no workers here, or they are blocked */
  static async open(
    size: number,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    plan: Plan,
  ): Promise<WorkerCrew> {
    const crew = new WorkerCrew(size);
    const openings = crew.#threads.map((thread, rank) => {
      const opening: Opening = { module, memory, seat: { rank, size }, shared: crew.#shared, plan };
      return thread.start(SCRIPT, opening);
    });
    try {
      await together(crew.#shared, openings);
    } catch (error) {
      await crew.close();
      throw error;
    }
    return crew;
  }

  async run(request: Request): Promise<void> {
    await together(
      this.#shared,
      this.#threads.map((thread) => thread.ask(request)),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
