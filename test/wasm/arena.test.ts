import { expect, test } from "vitest";
import { Arena } from "../../src/wasm/arena.ts";

/** An arena over a memory of its own, and how often that grew. */
function arenaOf(maximum: number): { arena: Arena; growths: () => number } {
  const memory = new WebAssembly.Memory({ initial: 1, maximum });
  let count = 0;
  const counted = {
    get buffer(): ArrayBuffer {
      return memory.buffer as ArrayBuffer;
    },
    grow(pages: number): number {
      count++;
      return memory.grow(pages);
    },
  };
  return { arena: new Arena(counted, 1000), growths: () => count };
}

test("what is expected is room that grows once", () => {
  const { arena, growths } = arenaOf(1000);
  const first = arena.allocate(100);
  expect(first.start).toBe(1024);
  arena.growFor(2_000_000);
  expect(growths()).toBe(1);
  for (let i = 0; i < 20; i++) arena.allocate(100_000);
  expect(growths()).toBe(1);
  arena.allocate(100_000);
  expect(growths()).toBe(2);
});

test("to expect more than the host has is no failure: keeping it is", () => {
  const { arena } = arenaOf(2);
  arena.growFor(2 ** 40);
  expect(arena.allocate(70_000).start).toBe(1024);
  expect(() => arena.allocate(70_000)).toThrow(/^WebAssembly memory: expected \d+ bytes/);
});
