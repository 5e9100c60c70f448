/** An open file or the like, which has to be closed. */
interface Handle {
  close(): Promise<void>;
}

interface OpenedHandle<H> {
  readonly handle: Promise<H>;
  users: number;
}

/**
 * Handles opened on demand, never more than some at a time: for another one, the handle that was
 * left alone longest is closed, and where all are in use, the asker waits. A checkpoint may have
 * more files than a process has descriptors.
 */
export class Handles<H extends Handle> {
  private readonly most: number;
  /** Open handles by the object they belong to, the longest unused first. */
  private readonly opened = new Map<object, OpenedHandle<H>>();
  private readonly waiting: (() => void)[] = [];

  constructor(most: number) {
    this.most = most;
  }

  /** Uses the handle of an owner; `open` makes one where there is none (any more). */
  async use<T>(owner: object, open: () => Promise<H>, work: (handle: H) => Promise<T>): Promise<T> {
    const opened = await this.borrow(owner, open);
    try {
      return await work(await opened.handle);
    } finally {
      opened.users--;
      this.waiting.shift()?.();
    }
  }

  /** Closes the handle of an owner, if there is one. */
  async close(owner: object): Promise<void> {
    const opened = this.opened.get(owner);
    this.opened.delete(owner);
    this.waiting.shift()?.();
    await opened?.handle.then(
      (handle) => handle.close(),
      () => {},
    );
  }

  private async borrow(owner: object, open: () => Promise<H>): Promise<OpenedHandle<H>> {
    for (;;) {
      const found = this.opened.get(owner);
      if (found !== undefined) {
        found.users++;
        this.opened.delete(owner);
        this.opened.set(owner, found);
        return found;
      }
      if (this.opened.size < this.most) return this.add(owner, open());
      const idle = [...this.opened].find(([, { users }]) => users === 0);
      if (idle !== undefined) return this.add(owner, this.close(idle[0]).then(open));
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  private add(owner: object, handle: Promise<H>): OpenedHandle<H> {
    const added = { handle, users: 1 };
    this.opened.set(owner, added);
    // What could not be opened is tried anew the next time.
    handle.catch(() => {
      if (this.opened.get(owner) === added) this.opened.delete(owner);
    });
    return added;
  }
}
