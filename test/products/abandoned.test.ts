import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";

const PROGRAM = `
import { load, schemes } from "blockscale";
const fp8 = await load();
const w = fp8.quantize(new Float32Array(2 ** 20).fill(1), [1024, 1024], schemes.mxfp8);
const kept = fp8.pack(w);
const x = { values: new Float32Array(1024).fill(1), shape: [1, 1024] };
for (let i = 0; i < 300; i++) {
  fp8.pack(w);
  fp8.resident([512, 512]);
  fp8.activations(x);
  if (i % 10 === 9) {
    gc();
    await new Promise((done) => setTimeout(done, 5));
  }
}
// All of them take 600 MB.
console.log(fp8.gemm(x, kept)[1023] === 1024, process.memoryUsage().external < 2 ** 27);
`;

it("gives the memory back of what nobody freed and nobody can reach", () => {
  const printed = execFileSync(process.execPath, ["--expose-gc", "--input-type=module", "--eval", PROGRAM], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
  });
  expect(printed.trim()).toBe("true true");
});
