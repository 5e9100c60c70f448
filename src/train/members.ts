import { answersOf, type ExchangeMemory, makeExchangeMemory } from "../model/exchange.ts";
import { lentScript } from "../threads/lend.ts";
import { RequestThread } from "../threads/request-thread.ts";
import type { TrainingMember, TrainingRequest, TrainingSetup } from "./member.ts";
import type { TrainingOpening } from "./protocol.ts";
import { SCRIPT } from "./script.ts";

/** The members that train a model together: one in this thread, or several in workers. */
export interface TrainingMembers {
  run(request: TrainingRequest): Promise<void>;
  close(): Promise<void>;
}

/** The one member of this thread. */
export class LocalTrainingMembers implements TrainingMembers {
  readonly #member: TrainingMember;

  constructor(member: TrainingMember) {
    this.#member = member;
  }

  async run(request: TrainingRequest): Promise<void> {
    this.#member.run(request);
  }

  async close(): Promise<void> {}
}

/** Workers that run the same program in lock-step, on one memory. */
export class WorkerTrainingMembers implements TrainingMembers {
  readonly #shared: ExchangeMemory = makeExchangeMemory(0);
  readonly #threads: readonly RequestThread<TrainingRequest>[];

  private constructor(size: number) {
    this.#threads = Array.from({ length: size }, () => new RequestThread<TrainingRequest>());
  }

  /**
   * @param lender makes the workers in place of this thread
   * @throws BlockscaleError `option`: there are no workers here, or they are blocked
   */
  static async open(
    size: number,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    setup: TrainingSetup,
    lender: MessagePort | undefined,
  ): Promise<WorkerTrainingMembers> {
    const members = new WorkerTrainingMembers(size);
    const openings = members.#threads.map((thread, member) => {
      const opening: TrainingOpening = {
        module,
        memory,
        team: { member, size },
        shared: members.#shared,
        setup: setup,
      };
      return thread.start(lentScript(SCRIPT, lender), opening);
    });
    try {
      await answersOf(members.#shared, openings);
    } catch (error) {
      await members.close();
      throw error;
    }
    return members;
  }

  async run(request: TrainingRequest): Promise<void> {
    await answersOf(
      this.#shared,
      this.#threads.map((thread) => thread.ask(request)),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
