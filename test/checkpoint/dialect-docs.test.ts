import { expect, test } from "vitest";
import {
  type Dialect,
  dialects,
  partName,
  type StoredPart,
  type WeightStorage,
} from "../../src/checkpoint/dialects/index.ts";
import { KEEP_RULES } from "../../src/checkpoint/dialects/rules.ts";

/** A table of GitHub's Markdown. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => ":--")), ...rows.map(line)].join("\n");
}

const named = (part: StoredPart) => `${part.dtype} \`${partName("X.weight", part)}\``;

function storageRow({ scheme, codes, scales, tensorScale }: WeightStorage): string[] {
  const factor = tensorScale && `F32 \`${partName("X.weight", tensorScale)}\``;
  return [
    `${scheme.format.toUpperCase()} in ${scheme.block.join("x")}`,
    named(codes),
    named(scales),
    factor === undefined ? "" : `${factor}, which ${tensorScale!.divides ? "divides" : "multiplies"} them`,
  ];
}

/** JSON in which lists of names and numbers stay on one line. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /\[\s+([^[\]{}]*?)\s+\]/g,
    (_, list: string) => `[${list.replace(/\s+/g, " ")}]`,
  );
}

/** Modules by format, for the dialect that stores several. */
const EXAMPLE = new Map([
  ["nvfp4", ["model.layers.0.mlp.experts.0.down_proj", "model.layers.0.mlp.experts.1.down_proj"]],
  ["fp8", ["model.layers.0.self_attn.o_proj"]],
]);

function section(dialect: Dialect): string {
  const { name, about, config, warnings, members, documents, formats } = dialect;
  const others = documents?.([]).map((document) => `\`${document.name}\``) ?? [];
  return [
    `## ${name}`,
    `${about}.`,
    table(
      ["weights", "codes", "scales", ""],
      (formats === undefined ? [dialect.storage] : Object.values(formats)).map(storageRow),
    ),
    `\`\`\`json\n${jsonOf({ ...members, quantization_config: config(["lm_head"], EXAMPLE) })}\n\`\`\``,
    ...(others.length > 0 ? [`It also writes ${others.join(", ")}.`] : []),
    ...(warnings ?? []),
  ].join("\n\n");
}

/** `npx vitest run --config test/vitest.config.ts dialect-docs -u` writes the page anew. */
test("docs/dialects.md is made of the records", async () => {
  const page = [
    "# Dialects that are written",
    "<!-- Made of src/checkpoint/dialects/ by test/checkpoint/dialect-docs.test.ts. -->",
    "A dialect is how a family of checkpoints stores a scheme: names and dtypes of tensors, and what config.json says. `X.weight` is the weight. The JSON is what is added to config.json where `lm_head` is kept. Who reads what, and what is read: [checkpoints](checkpoints.md).",
    ...Object.values(dialects).map(section),
    "## What is kept",
    "Matrices whose name fits one of these stay in high precision unless `also` asks for them; the first that fits counts.",
    table(
      ["name", "why"],
      KEEP_RULES.map(({ pattern, reason }) => [`\`${pattern.source}\``, reason]),
    ),
  ].join("\n\n");
  await expect(`${page}\n`).toMatchFileSnapshot("../../docs/dialects.md");
});
