import type { LinearMemory } from "../wasm/instantiate.ts";

const PAGE = 65536;
const MOST_PAGES = 65536;

/** Linear memory in plain JavaScript: an ArrayBuffer that is replaced by a larger one when it grows. */
export class ArrayMemory implements LinearMemory {
  buffer: ArrayBuffer;
  /** Views of the bytes under the four types the kernels read and write. */
  u8: Uint8Array;
  u16: Uint16Array;
  i32: Int32Array;
  f32: Float32Array;

  constructor(pages: number) {
    this.buffer = new ArrayBuffer(pages * PAGE);
    this.u8 = new Uint8Array(this.buffer);
    this.u16 = new Uint16Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
    this.f32 = new Float32Array(this.buffer);
  }

  /** @throws RangeError when the host has no such memory, as WebAssembly.Memory does. */
  grow(pages: number): number {
    const before = this.buffer.byteLength / PAGE;
    if (before + pages > MOST_PAGES) throw new RangeError("memory beyond 4 GiB");
    const old = this.u8;
    const grown = new ArrayMemory(before + pages);
    grown.u8.set(old);
    Object.assign(this, grown);
    return before;
  }
}
