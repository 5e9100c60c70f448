import { problemOf } from "../workers/problem.ts";
import type { Call, Method, Problem, Reply, RunProgress, Session, WorkerPorts } from "../workers/protocol.ts";

/** A problem on its way through promises. */
export class Trouble extends Error {
  override readonly name: string = "Trouble";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

interface Open {
  resolve(value: unknown): void;
  reject(error: Trouble): void;
}

/** One per core, within what memory bears. */
const WORKERS = Math.max(1, Math.min(8, navigator.hardwareConcurrency || 2));

/** The coordinator's methods, called from the page. A worker that dies fails every open call. */
class Client {
  private readonly worker = new Worker(new URL("./coordinator.js", import.meta.url), { type: "module" });
  private readonly open = new Map<number, Open>();
  private calls = 0;
  /** Is told how far a run is. */
  onProgress: (progress: RunProgress) => void = () => {};

  constructor() {
    this.startWorkers();
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if ("progress" in data) {
        this.onProgress(data.progress);
        return;
      }
      const call = this.open.get(data.id);
      this.open.delete(data.id);
      if ("problem" in data) call?.reject(new Trouble(data.problem));
      else call?.resolve(data.value);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const trouble = new Trouble({ kind: "worker", message: event.message || "The main worker stopped." });
      for (const { reject } of this.open.values()) reject(trouble);
      this.open.clear();
    };
  }

  /** Starts a worker per core for the coordinator, each at the other end of a port. */
  private startWorkers(): void {
    const ports: MessagePort[] = [];
    for (let i = 0; i < WORKERS; i++) {
      const { port1, port2 } = new MessageChannel();
      const worker = new Worker(new URL("./strip-worker.js", import.meta.url), { type: "module" });
      worker.onerror = (event) => {
        event.preventDefault();
        const lost = event.message || "A worker stopped.";
        this.worker.postMessage({ lost } satisfies WorkerPorts);
      };
      worker.postMessage({ port: port1 }, [port1]);
      ports.push(port2);
    }
    this.worker.postMessage({ ports } satisfies WorkerPorts, ports);
  }

  call<M extends Method>(method: M, ...args: Parameters<Session[M]>): ReturnType<Session[M]> {
    const id = this.calls++;
    const answer = new Promise<unknown>((resolve, reject) => this.open.set(id, { resolve, reject }));
    this.worker.postMessage({ id, method, args } satisfies Call);
    return answer as ReturnType<Session[M]>;
  }
}

/** The coordinator of this page. */
export const client: Client = new Client();

/** Items to take in at once: a few milliseconds of work. */
const PIECE = 3000;

/** A list that is asked for piece by piece, so that the page does not stand still while it takes it in. */
export async function inPieces<T>(
  count: number,
  ask: (start: number, end: number) => Promise<readonly T[]>,
): Promise<T[]> {
  const items: T[] = [];
  for (let start = 0; start < count; start += PIECE) items.push(...(await ask(start, start + PIECE)));
  return items;
}

/** The problem behind an error of any kind. */
export function problemIn(error: unknown): Problem {
  return error instanceof Trouble ? error.problem : problemOf(error);
}
