/** Seconds over which the rate is averaged. */
const WINDOW = 8;

/**
 * Measures how fast a run goes: bytes a second over the last seconds, and seconds left. Pauses do not count.
 */
export class RateMeter {
  private marks: { readonly time: number; readonly bytes: number }[] = [];
  private begun = 0;
  private pausedAt: number | null = null;
  private pauses = 0;

  start(): void {
    this.marks = [];
    this.begun = performance.now();
    this.pausedAt = null;
    this.pauses = 0;
  }

  pause(): void {
    this.pausedAt = performance.now();
  }

  resume(): void {
    if (this.pausedAt !== null) this.pauses += performance.now() - this.pausedAt;
    this.pausedAt = null;
  }

  /** Seconds of work since the start. */
  seconds(): number {
    return ((this.pausedAt ?? performance.now()) - this.begun - this.pauses) / 1000;
  }

  at(bytes: number, size: number): { readonly rate: number | null; readonly left: number | null } {
    const time = this.seconds();
    this.marks.push({ time, bytes });
    while (this.marks.length > 2 && time - this.marks[0]!.time > WINDOW) this.marks.shift();
    const first = this.marks[0]!;
    if (time - first.time < 0.5) return { rate: null, left: null };
    const rate = (bytes - first.bytes) / (time - first.time);
    return rate > 0 ? { rate, left: (size - bytes) / rate } : { rate, left: null };
  }
}
