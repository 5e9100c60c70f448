import { expect, it } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const ENGINE = ["BlockscaleError", "bf16", "cosine", "f16", "load", "schemes", "sqnr"];

/**
 * What each entry exports at run time. A name that comes or goes changes the public
 * interface: docs/changelog.md has to say so.
 */
const NAMES: { readonly [entry: string]: readonly string[] } = {
  ".": [...ENGINE, "lendEngineWorkers"].sort(),
  "./js": ENGINE,
  "./external": ENGINE,
  "./checkpoint": [
    "KEEP_RULES",
    "compareCheckpoints",
    "convertCheckpoint",
    "createPool",
    "dialects",
    "documentsOf",
    "fileBytes",
    "fileStream",
    "inspect",
    "jsonOf",
    "localConverter",
    "openCached",
    "openCheckpoint",
    "openUrl",
    "planDequantize",
    "planQuantize",
    "readCheckpoint",
    "removeCached",
    "serveConversions",
    "summarize",
    "warningsOf",
  ],
  "./scale-layouts": [
    "fromMnMajor",
    "packScales",
    "swizzleScales",
    "toMnMajor",
    "unpackScales",
    "unswizzleScales",
  ],
  "./node": ["createFile", "openFile", "openFolder"],
  "./model": ["architectures", "lendModelWorkers", "modelConfigOf", "openModel"],
  "./train": ["createTrainer", "lendTrainerWorkers", "recipes", "stochasticCast", "warmupCosine"],
};

const entries = Object.entries(manifest.exports).filter(([name]) => !/\.(json|wasm)$/.test(name));

it("lists every entry of the package", () => {
  expect(entries.map(([name]) => name).sort()).toEqual(Object.keys(NAMES).sort());
});

it.each(entries)("%s exports these names", async (name, files) => {
  const { default: file } = files as { readonly default: string };
  const found = await import(new URL(`../../${file}`, import.meta.url).href);
  expect(Object.keys(found).sort()).toEqual(NAMES[name]);
});
