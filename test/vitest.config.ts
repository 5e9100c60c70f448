import { defineConfig } from "vitest/config";

// Node 20 hides relaxed SIMD behind a V8 flag; newer releases have it on and reject the flag.
const relaxedFlag =
  Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];

export default defineConfig({
  test: {
    dir: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    include: ["**/*.test.ts"],
    pool: "forks",
    // vitest leaves one core free, which on a machine of two is half of them.
    maxWorkers: "100%",
    execArgv: relaxedFlag,
    setupFiles: [new URL("support/equal-bytes.ts", import.meta.url).pathname],
    testTimeout: 120_000,
    reporters: ["default", new URL("support/summary.ts", import.meta.url).pathname],
  },
});
