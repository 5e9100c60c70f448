// The example checkpoints of the page. The build calls `examples`; by hand, the language model is trained anew (ten minutes):
// node .config/examples.mjs
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../", import.meta.url));
const kept = join(root, "src/web/examples/stories");

/** Writes all examples under a folder. */
export async function examples(out) {
  const stories = join(out, "stories");
  await mkdir(stories, { recursive: true });
  await cp(kept, stories, { recursive: true });
  const { byteTokenizer } = await import("../dist/train/byte-tokenizer.js");
  for (const [name, blob] of byteTokenizer()) await writeFile(join(stories, name), await blob.text());
  const cli = join(root, "dist/cli/main.js");
  const fp8 = join(out, "stories-fp8");
  await rm(fp8, { recursive: true, force: true });
  const flags = ["--to", "deepseek-v3.1", "--json"];
  const report = execFileSync("node", [cli, "quantize", stories, fp8, ...flags], { stdio: "pipe" });
  await writeFile(join(fp8, "report.json"), JSON.stringify(JSON.parse(report)));
  await mkdir(join(out, "outliers"), { recursive: true });
  await writeFile(join(out, "outliers/model.safetensors"), await outliers());
  await writeFile(join(out, "outliers/config.json"), '{\n  "architectures": ["ExampleModel"]\n}\n');
}

/** A layer's matrices [128, 256] whose values are hard to hold in few bits, each in its own way. */
async function outliers() {
  const { normalValues } = await import("../dist/train/initial-values.js");
  const [rows, cols] = [128, 256];
  const normal = (seed) => {
    const values = new Float32Array(rows * cols);
    normalValues(values, 0.02, seed, 0);
    return values;
  };
  const layer = "model.layers.0.";
  const tensors = {
    [`${layer}self_attn.q_proj.weight`]: normal(1),
    // Heavy tails: the cube of a normal value.
    [`${layer}self_attn.v_proj.weight`]: normal(2).map((x) => 2500 * x ** 3),
    // One input channel a thousand times larger than the others.
    [`${layer}mlp.up_proj.weight`]: normal(3).map((x, i) => (i % cols === 77 ? 1000 * x : x)),
    // Rows from 1 down to 2^-31.
    [`${layer}mlp.down_proj.weight`]: normal(4).map((x, i) => x * 2 ** -(Math.floor(i / cols) / 4)),
    // Powers of two, which every format holds.
    [`${layer}mlp.gate_proj.weight`]: normal(5).map(
      (x) => Math.sign(x) * 2 ** Math.round(Math.log2(Math.abs(x) + 1e-6)),
    ),
    "model.norm.weight": new Float32Array(cols).fill(1),
  };
  return bf16File(
    Object.entries(tensors).map(([name, values]) => ({
      name,
      shape: name.endsWith("norm.weight") ? [cols] : [rows, cols],
      values,
    })),
  );
}

/** A safetensors file of BF16 values, rounded to the nearest, ties to even. */
async function bf16File(tensors) {
  const { narrow } = await import("../dist/js/half.js");
  const { VALUE_TYPE_ID } = await import("../dist/tensor/formats.js");
  const bytesOf = (values) =>
    Buffer.from(
      Uint16Array.from(new Uint32Array(Float32Array.from(values).buffer), (bits) =>
        narrow(VALUE_TYPE_ID.bf16, bits),
      ).buffer,
    );
  let at = 0;
  const header = { __metadata__: { format: "pt" } };
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: "BF16", shape, data_offsets: [at, at + 2 * values.length] };
    at += 2 * values.length;
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, ...tensors.map(({ values }) => bytesOf(values))]);
}

/** Trains the language model on the stories of the page, and keeps it in BF16. */
async function trainStories() {
  const folder = await mkdtemp(join(tmpdir(), "stories-"));
  const file = (name) => join(folder, name);
  for (const name of ["stories", "little-llama"]) {
    const entry = join(root, `src/web/train/${name}.ts`);
    await build({ entryPoints: [entry], bundle: true, format: "esm", outfile: file(`${name}.mjs`) });
  }
  const { stories } = await import(file("stories.mjs"));
  const { LITTLE_LLAMA } = await import(file("little-llama.mjs"));
  await writeFile(file("stories.txt"), stories(1, 3000));
  await writeFile(file("config.json"), JSON.stringify(LITTLE_LLAMA));
  const flags = {
    config: file("config.json"),
    recipe: "f32",
    steps: 900,
    batch: 8,
    context: 256,
    "learning-rate": 3e-3,
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  execFileSync("node", [join(root, "dist/cli/main.js"), "train", file("stories.txt"), file("out"), ...args], {
    stdio: "inherit",
  });
  await keepStories(file("out"));
  await rm(folder, { recursive: true });
}

async function keepStories(folder) {
  const bytes = await readFile(join(folder, "model.safetensors"));
  const size = Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...header } = JSON.parse(bytes.subarray(8, 8 + size).toString());
  const tensors = Object.entries(header).map(
    ([
      name,
      {
        shape,
        data_offsets: [begin, end],
      },
    ]) => ({
      name,
      shape,
      values: new Float32Array(Uint8Array.from(bytes.subarray(8 + size + begin, 8 + size + end)).buffer),
    }),
  );
  await mkdir(kept, { recursive: true });
  await writeFile(join(kept, "model.safetensors"), await bf16File(tensors));
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  await writeFile(
    join(kept, "config.json"),
    `${JSON.stringify({ ...config, dtype: "bfloat16", torch_dtype: "bfloat16" }, null, 2)}\n`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === undefined) await trainStories();
  else await keepStories(process.argv[2]);
}
