import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { blockscale, layer, start, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const input = join(folder, "in.safetensors");
beforeAll(() => writeFileWith(input, [...layer(0, 160), ...layer(1, 160)]));

test.each(["0", "257", "1e2", "0x2", " 2 ", "2.0", "+2", ""])(
  "--threads %j is wrong usage",
  async (threads) => {
    const result = await blockscale("quantize", input, join(folder, "out"), "--threads", threads);
    expect(result).toMatchObject({ code: 2, err: expect.stringContaining("1 to 256") });
  },
);

/** Loaded before the command line: tells on stderr how many threads were started. */
const COUNTER = `
  import workers from "node:worker_threads";
  import { syncBuiltinESMExports } from "node:module";
  let count = 0;
  workers.Worker = class extends workers.Worker {
    constructor(...args) { super(...args); count++; }
  };
  syncBuiltinESMExports();
  if (workers.isMainThread) process.on("exit", () => console.error("threads: " + count));
`;

test.each([
  [["--threads", "64"], 4],
  [["--threads", "3"], 3],
  [["--threads", "1"], 0],
  // Its older name.
  [["--jobs", "3"], 3],
  // Small inputs are not worth a thread.
  [[], 0],
] as const)("four strips with %j take %i threads", async (flags, threads) => {
  const output = join(folder, `out-${flags.join("")}.safetensors`);
  const counter = `data:text/javascript,${encodeURIComponent(COUNTER)}`;
  const { ended } = start(["quantize", input, output, ...flags], ["--import", counter]);
  expect(await ended).toMatchObject({ code: 0, err: `threads: ${threads}\n` });
});
