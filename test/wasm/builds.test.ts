import { readdirSync, readFileSync, statSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { baseline, relaxed } from "#kernels";
import { instantiate } from "../../src/wasm/instantiate.ts";
import type { Kernels } from "../../src/wasm/kernels.ts";
import { MATRIX, matrixRecord } from "../../src/wasm/matrix.ts";
import { INSTANCES } from "../support/engines.ts";

const ROOT = new URL("../../", import.meta.url);
const RELEASES = ["baseline", "relaxed"] as const;
const BUILDS = ["debug", ...RELEASES] as const;

/** 27 kB: what a page may have to load before it can do anything. */
const SIZE_BUDGET = 27_000;

/**
 * Every kernel and how many arguments it takes. Does not compile unless it says what {@link Kernels} says.
 */
const ARITIES: { readonly [K in keyof Kernels]: Parameters<Kernels[K]>["length"] } = {
  heapBase: 0,
  encode: 4,
  compare: 8,
  decode: 4,
  widen: 4,
  quantize: 6,
  dequantize: 3,
  analyse: 3,
  listSubnormals: 1,
  gemmWorkspace: 2,
  gemm: 6,
  dotFloat64: 3,
  hasTrueDots: 0,
  quantizeInt8: 4,
  int7Bytes: 2,
  packInt7: 5,
  integerWorkspace: 1,
  gemmIntegers: 7,
};

function fileOf(build: string, extension: string): Buffer<ArrayBuffer> {
  return readFileSync(new URL(`build/${build}.${extension}`, ROOT)) as Buffer<ArrayBuffer>;
}

describe.each(BUILDS)("%s", (build) => {
  const module = new WebAssembly.Module(fileOf(build, "wasm"));

  test("imports nothing but its memory; the debug build, the report of failed assertions too", () => {
    const imports = WebAssembly.Module.imports(module).map(({ module, name }) => `${module}.${name}`);
    const wanted = build === "debug" ? ["env.memory", "env.abort"] : ["env.memory"];
    expect(imports.sort()).toEqual(wanted.sort());
  });

  test("exports the interface Kernels", () => {
    const functions = WebAssembly.Module.exports(module).filter(({ kind }) => kind === "function");
    expect(functions.map(({ name }) => name).sort()).toEqual(Object.keys(ARITIES).sort());
  });

  test("is not older than its source", () => {
    const sources = readdirSync(new URL("assembly/", ROOT), { recursive: true, encoding: "utf8" });
    const modified = (path: string): number => statSync(new URL(path, ROOT)).mtimeMs;
    const built = modified(`build/${build}.wasm`);
    const newer = sources.filter((file) => file.endsWith(".ts") && modified(`assembly/${file}`) > built);
    expect(newer, "run `npm run build`").toEqual([]);
  });
});

test.each(INSTANCES)("%s: every kernel takes the arguments that Kernels says", async (name, make) => {
  if (name === "js") return; // TypeScript has checked it
  const { kernels } = await make();
  for (const [kernel, arity] of Object.entries(ARITIES)) {
    expect([kernel, kernels[kernel as keyof Kernels].length]).toEqual([kernel, arity]);
  }
});

/** Records with named fields take the place of more: see src/wasm/record.ts. */
const MOST_ARGUMENTS = 8;

test.each(BUILDS.flatMap((build) => [build, `model-${build}`]))(
  "no export of %s takes more than eight arguments",
  (build) => {
    const { kernels } = instantiate(new WebAssembly.Module(fileOf(build, "wasm")));
    const functions = Object.entries(kernels).filter(([, value]) => typeof value === "function");
    expect(functions.length).toBeGreaterThan(10);
    const many = functions.filter(([, { length }]) => length > MOST_ARGUMENTS);
    expect(many.map(([name, { length }]) => `${name}: ${length}`)).toEqual([]);
  },
);

test("a failed assertion of the debug build says what, and where", async () => {
  const [, make] = INSTANCES.find(([name]) => name === "debug")!;
  const { kernels, memory } = await make();
  const at = Math.ceil(kernels.heapBase() / 64) * 64;
  const places = { codes: at + 256, scales: at + 512 };
  const fields = {
    format: 0,
    scaleType: 0,
    ...places,
    rows: 1,
    cols: 1,
    blockRows: 0,
    blockCols: 1,
  } as const;
  MATRIX.write(memory.buffer, at, matrixRecord(fields));
  const withoutRows = (): void => kernels.dequantize(at, 0, at + 768);
  expect(withoutRows).toThrow(/a block has rows and columns.*kernels\/casts\/dequantize\.ts:\d+/);
});

/** A loop of a function in text format that holds no other loop. */
interface InnermostLoop {
  readonly where: string;
  readonly instructions: readonly string[];
}

/** The innermost loops of a module as asc writes it: one instruction a line, `loop` to `end`. */
function innermostLoops(wat: string): InnermostLoop[] {
  const found: InnermostLoop[] = [];
  let where = "";
  let open: { kind: string; instructions: string[]; hasLoop: boolean }[] = [];
  for (const line of wat.split("\n").map((text) => text.trim())) {
    const [instruction = "", label = ""] = line.split(/\s+/);
    if (instruction === "(func") {
      where = label;
      open = [];
    } else if (instruction === "loop" || instruction === "block" || instruction === "if") {
      if (instruction === "loop") for (const outer of open) outer.hasLoop = true;
      open.push({ kind: instruction, instructions: [], hasLoop: false });
    } else if (instruction === "end") {
      const closed = open.pop();
      if (closed?.kind === "loop" && !closed.hasLoop)
        found.push({ where, instructions: closed.instructions });
    } else {
      for (const around of open) around.instructions.push(line);
    }
  }
  return found;
}

describe.each(RELEASES)("the hot loops of %s", (build) => {
  const hot = innermostLoops(fileOf(build, "wat").toString()).filter(({ instructions }) =>
    instructions.some((line) => line.startsWith("v128.load")),
  );

  test("are found, in every kernel and for both formats", () => {
    for (const place of ["kernels/casts/quantize", "kernels/casts/dequantize"]) {
      for (const format of ["E4M3", "E5M2"]) {
        const of = hot.filter(({ where }) => where.includes(place) && where.includes(format));
        expect(of.length).toBeGreaterThan(4);
      }
    }
  });

  test("hold no call", () => {
    const calls = hot.flatMap(({ where, instructions }) =>
      instructions.filter((line) => line.startsWith("call")).map((line) => `${where}: ${line}`),
    );
    expect(calls).toEqual([]);
  });
});

describe("what ships", () => {
  test("is what was built", () => {
    for (const [build, bytes] of [
      ["baseline", baseline()],
      ["relaxed", relaxed()],
    ] as const) {
      expect(Buffer.from(bytes as Uint8Array).equals(fileOf(build, "wasm"))).toBe(true);
    }
  });

  test("fits its budget: both builds, as text in a module, compressed", () => {
    const shipped = readFileSync(new URL("dist/kernels/inline.js", ROOT));
    expect(gzipSync(shipped, { level: 9 }).length).toBeLessThan(SIZE_BUDGET);
  });
});
