import type { Call, Method, Problem, Reply, RunProgress, Session } from "../workers/protocol.ts";

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

/** The coordinator's methods, called from the page. A worker that dies fails every open call. */
export class Client {
  private readonly worker = new Worker(new URL("./coordinator.js", import.meta.url), { type: "module" });
  private readonly open = new Map<number, Open>();
  private calls = 0;

  constructor(onProgress: (progress: RunProgress) => void) {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if ("progress" in data) {
        onProgress(data.progress);
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

  call<M extends Method>(method: M, ...args: Parameters<Session[M]>): ReturnType<Session[M]> {
    const id = this.calls++;
    const answer = new Promise<unknown>((resolve, reject) => this.open.set(id, { resolve, reject }));
    this.worker.postMessage({ id, method, args } satisfies Call);
    return answer as ReturnType<Session[M]>;
  }
}

/** The problem behind an error of any kind. */
export function problemIn(error: unknown): Problem {
  if (error instanceof Trouble) return error.problem;
  return { kind: "other", message: error instanceof Error ? error.message : String(error) };
}
