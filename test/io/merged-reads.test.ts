import fc from "fast-check";
import { expect, test } from "vitest";
import { isSmall, mergeReads, withLoaded } from "../../src/io/merged-reads.ts";
import { readRange, type Source } from "../../src/io/source.ts";

const SIZE = 1 << 20;
const bytes = Uint8Array.from({ length: SIZE }, (_, i) => (i * 2654435761) >>> 13);

/** A source that notes what is read of it. @param fills whether it reads into memory that is given */
function counted(fills: boolean): { source: Source; reads: [number, number][] } {
  const reads: [number, number][] = [];
  const take = (start: number, end: number) => {
    reads.push([start, end]);
    return bytes.slice(start, end);
  };
  const source: Source = {
    size: SIZE,
    slice: (start, end) => ({ arrayBuffer: async () => take(start, end).buffer }),
    ...(fills && {
      read: async (start, into) => {
        into.set(take(start, start + into.length));
        return into.length;
      },
    }),
  };
  return { source, reads };
}

const range = fc
  .tuple(fc.nat(SIZE), fc.oneof(fc.nat(3000), fc.nat(SIZE)))
  .map(([start, length]) => ({ shard: 0, start, end: Math.min(SIZE, start + length) }));

test("ranges hold the bytes that they would hold alone", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(range, { maxLength: 20 }),
      fc.boolean(),
      fc.boolean(),
      async (ranges, fills, all) => {
        const { source } = counted(fills);
        const [together] = mergeReads([source], all ? ranges : ranges.slice(1)) as [Source];
        for (const { start, end } of ranges) {
          const middle = (start + end) >> 1;
          for (const [first, last] of [
            [start, end],
            [middle, end],
          ] as const) {
            const found = await readRange("x", together, first, last);
            expect(Buffer.from(found).equals(bytes.subarray(first, last))).toBe(true);
            const sliced = await together.slice(first, last).arrayBuffer();
            expect(Buffer.from(sliced).equals(bytes.subarray(first, last))).toBe(true);
          }
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("a hundred small neighbours are one read, and large ones a read each", async () => {
  const { source, reads } = counted(true);
  const small = Array.from({ length: 100 }, (_, i) => ({ shard: 0, start: 2000 * i, end: 2000 * i + 1000 }));
  const large = { shard: 0, start: 1 << 18, end: SIZE };
  const [together] = mergeReads([source], [...small, large]) as [Source];
  for (const { start, end } of [...small, large]) await readRange("x", together, start, end);
  expect(reads).toEqual([
    [0, 199_000],
    [1 << 18, SIZE],
  ]);
  expect([small[0]!, large, { shard: 0, start: 1, end: 1 }].map(isSmall)).toEqual([true, false, false]);
});

test("what failed once is read again", async () => {
  const { source } = counted(false);
  let fails = true;
  const shaky: Source = {
    size: SIZE,
    slice: (start, end) => {
      if (fails) throw new Error("no answer");
      return source.slice(start, end);
    },
  };
  const [together] = mergeReads([shaky], [{ shard: 0, start: 8, end: 16 }]) as [Source];
  await expect(readRange("tensor x", together, 8, 16)).rejects.toThrow(/^tensor x: .*no answer/);
  fails = false;
  expect(Array.from(await readRange("x", together, 8, 16))).toEqual([...bytes.subarray(8, 16)]);
});

test("a file that ends too early is an error of the tensor, not of its neighbour", async () => {
  const { source } = counted(false);
  const short: Source = {
    size: SIZE,
    slice: (start, end) => source.slice(start, Math.min(end, 12)),
  };
  const ranges = [
    { shard: 0, start: 0, end: 8 },
    { shard: 0, start: 8, end: 16 },
  ];
  const [together] = mergeReads([short], ranges) as [Source];
  expect(await readRange("first", together, 0, 8)).toHaveLength(8);
  await expect(readRange("second", together, 8, 16)).rejects.toThrow(/^second: .*got 4 bytes/);
});

test("bytes that are at hand are not read", async () => {
  const { source, reads } = counted(true);
  const [known] = withLoaded(
    [source],
    [
      { shard: 0, start: 100, bytes: bytes.slice(100, 200) },
      { shard: 0, start: 300, bytes: bytes.slice(300, 400) },
    ],
  ) as [Source];
  for (const [start, end] of [
    [100, 200],
    [310, 320],
    [199, 201],
  ] as const)
    expect([...(await readRange("x", known, start, end))]).toEqual([...bytes.subarray(start, end)]);
  expect(reads).toEqual([[199, 201]]);
});
