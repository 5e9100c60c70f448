import type { Problem } from "../workers/problem.ts";
import { problemOf } from "../workers/problem.ts";
import type {
  Call,
  CoordinatorMethods,
  Method,
  Reply,
  RunProgress,
  WorkerPorts,
} from "../workers/protocol.ts";

/** A problem as an error, for promises to reject with. */
export class ProblemError extends Error {
  override readonly name: string = "ProblemError";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: ProblemError): void;
}

/** One worker for each core, eight at most: each one takes memory. */
const WORKERS = Math.max(1, Math.min(8, navigator.hardwareConcurrency || 2));

/** The coordinator's methods, called from the page. A worker that dies fails every open call. */
class Client {
  private readonly worker = new Worker(new URL("./coordinator.js", import.meta.url), { type: "module" });
  private readonly open = new Map<number, PendingCall>();
  private calls = 0;
  /** Called with the progress of a run. */
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
      if ("problem" in data) call?.reject(new ProblemError(data.problem));
      else call?.resolve(data.value);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const message = event.message || "The main worker stopped.";
      const error = new ProblemError({ kind: "worker", message });
      for (const { reject } of this.open.values()) reject(error);
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

  call<M extends Method>(
    method: M,
    ...args: Parameters<CoordinatorMethods[M]>
  ): ReturnType<CoordinatorMethods[M]> {
    const id = this.calls++;
    const answer = new Promise<unknown>((resolve, reject) => this.open.set(id, { resolve, reject }));
    this.worker.postMessage({ id, method, args } satisfies Call);
    return answer as ReturnType<CoordinatorMethods[M]>;
  }
}

/** The coordinator of this page. */
export const client: Client = new Client();

/** Items in one message: reading them takes the page a few milliseconds. */
const PIECE = 3000;

/** Asks for a list piece by piece, so that the page stays responsive while it reads the answers. */
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
  return error instanceof ProblemError ? error.problem : problemOf(error);
}
