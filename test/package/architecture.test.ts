import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { filesOf, ROOT, textOf } from "../support/sources.ts";

function isSource(name: string): boolean {
  return /\.tsx?$/.test(name);
}

/** A style sheet of our own, say, which the bundler of the web page takes in. */
function isAsset(name: string): boolean {
  return isWithin(name, "web/") && !isSource(name);
}

/** The package of an import: `preact` of `preact/hooks`. */
function packageOf(name: string): string {
  return name.split("/", name.startsWith("@") ? 2 : 1).join("/");
}

/** Whether an import or export needs its module at run time, and not for its types alone. */
function isOfValues(statement: ts.Statement): boolean {
  if (ts.isExportDeclaration(statement)) return !statement.isTypeOnly;
  if (!ts.isImportDeclaration(statement)) return false;
  const clause = statement.importClause;
  if (clause === undefined) return true;
  const names = clause.namedBindings;
  if (clause.isTypeOnly) return false;
  return !(
    clause.name === undefined &&
    names &&
    ts.isNamedImports(names) &&
    names.elements.every((e) => e.isTypeOnly)
  );
}

const parsed = new Map<string, ts.SourceFile>();

/** A file as TypeScript reads it, which takes a while: each file once. */
function parse(folder: string, file: string): ts.SourceFile {
  const path = `${folder}/${file}`;
  const source = parsed.get(path) ?? ts.createSourceFile(file, textOf(folder, file), ts.ScriptTarget.ES2022);
  parsed.set(path, source);
  return source;
}

/** What a file imports or re-exports: relative paths resolved from `folder`, others as they are. */
function importsOf(
  folder: string,
  file: string,
  { values }: { values: boolean } = { values: false },
): string[] {
  return parse(folder, file).statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return [];
    if (statement.moduleSpecifier === undefined || (values && !isOfValues(statement))) return [];
    const name = (statement.moduleSpecifier as ts.StringLiteral).text;
    if (!name.startsWith(".")) return [name];
    const path = posix.join(posix.dirname(file), name);
    return [/\.\w+$/.test(path) ? path : `${path}.ts`]; // AssemblyScript leaves the ending out
  });
}

function isWithin(file: string, place: string): boolean {
  return place.endsWith("/") ? file.startsWith(place) : file === place;
}

/** The layer of a file: where its longest matching place is. */
function layerOf(layers: readonly (readonly string[])[], file: string): number {
  let layer = -1;
  let longest = -1;
  layers.forEach((places, i) => {
    for (const place of places) {
      if (isWithin(file, place) && place.length > longest) [layer, longest] = [i, place.length];
    }
  });
  return layer;
}

/** "a imports b" for every import of a folder's own files that points up. */
function upwardImports(folder: string, layers: readonly (readonly string[])[]): string[] {
  return filesOf(folder).flatMap((file) =>
    importsOf(folder, file)
      .filter(isSource)
      .filter((target) => !(layerOf(layers, target) <= layerOf(layers, file)))
      .map((target) => `${file} imports ${target}`),
  );
}

/** The folder of a file in the list of layers: the longest one that matches. */
function folderOf(layers: readonly (readonly string[])[], file: string): string {
  const places = layers.flat().filter((place) => isWithin(file, place));
  return places.sort((a, b) => b.length - a.length)[0] ?? file;
}

/** Each pair of folders of which one imports the other, once. */
function arrowsBetween(folder: string, layers: readonly (readonly string[])[]): [from: string, to: string][] {
  const found = new Map<string, [string, string]>();
  for (const file of filesOf(folder)) {
    for (const target of importsOf(folder, file).filter(isSource)) {
      const [from, to] = [folderOf(layers, file), folderOf(layers, target)];
      if (from !== to) found.set(`${from} ${to}`, [from, to]);
    }
  }
  return [...found.values()];
}

/**
 * The files of a circle of imports, if there is one. Types may refer to one
 * another: they are gone when the code runs.
 */
function circleIn(folder: string): string[] {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    done.add(file);
    const targets = importsOf(folder, file, { values: true }).filter(isSource);
    for (const target of targets) {
      const circle = visit(target, [...path, file]);
      if (circle.length > 0) return circle;
    }
    return [];
  };
  for (const file of filesOf(folder)) {
    const circle = visit(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

/**
 * From the bottom up; a file may import from its own layer and those below.
 * A file is of its longest matching place.
 */
const SRC_LAYERS = [
  ["tensor/"],
  ["wasm/", "js/"],
  ["engine/chunks.ts"],
  ["products/", "engine/precision.ts"],
  ["engine/"],
  ["threads/"],
  ["io/"],
  ["safetensors/"],
  ["checkpoint/read/"],
  ["checkpoint/dialects/"],
  ["checkpoint/plan/"],
  ["checkpoint/run/"],
  ["checkpoint/measure/"],
  ["checkpoint/convert.ts", "checkpoint/index.ts"],
  ["model/"],
  ["train/"],
  ["evaluate/"],
  ["report/"],
  ["public.ts", "load.ts", "external.ts", "plain-js.ts", "node.ts"],
  ["jobs/"],
  ["cli/", "web/"],
  ["index.ts"],
] as const;

const ASSEMBLY_LAYERS = [["lanes/"], ["kernels/"], ["index.ts"], ["model.ts"]] as const;

/** Who may import what is not a file of src/. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  "#kernels": ["wasm/builds.ts"],
  "#model-kernels": ["model/build.ts"],
  "#worker": ["threads/script.ts"],
  "#model-worker": ["model/script.ts"],
  "#train-worker": ["train/script.ts"],
  "@huggingface/tokenizers": ["model/tokenizer.ts"],
  "@huggingface/jinja": ["model/tokenizer.ts"],
  "@assemblyscript/loader": ["wasm/instantiate.ts"],
  bullmq: ["jobs/queue/"],
  ioredis: ["jobs/queue/"],
  "@aws-sdk/client-s3": ["io/s3-sdk.ts"],
  commander: ["cli/"],
  "@huggingface/hub": ["cli/", "web/"],
  "cli-progress": ["cli/"],
  "markdown-table": ["cli/"],
  "client-zip": ["web/"],
  "hash-wasm": ["web/"],
  preact: ["web/"],
  "@preact/signals": ["web/"],
  uplot: ["web/", "report/script/"],
  "#report-assets": ["report/html-page.ts"],
};

/** The places that know Node; everything else runs in a browser too. */
const NODE_ONLY = [
  "io/node.ts",
  "io/node-folder.ts",
  "io/hub-cache.ts",
  "io/place.ts",
  "io/s3.ts",
  "io/partial-files.ts",
  "node.ts",
  "jobs/",
  "cli/",
];

describe("imports", () => {
  test.each([
    ["src", SRC_LAYERS],
    ["assembly", ASSEMBLY_LAYERS],
  ] as const)("of %s: every file has a layer, and imports point down", (folder, layers) => {
    expect(filesOf(folder).length).toBeGreaterThan(0);
    expect(filesOf(folder).filter((file) => layerOf(layers, file) < 0)).toEqual([]);
    expect(upwardImports(folder, layers)).toEqual([]);
    const arrows = arrowsBetween(folder, layers);
    const names = layers.map((places) => places.join("  ")).reverse();
    console.log(
      `${names.join("\n")}\n${new Set(arrows.flat()).size} folders, ${names.length} layers, ${arrows.length} arrows`,
    );
  });

  test.each(["src", "assembly"])("of %s: no circles", (folder) => {
    expect(circleIn(folder)).toEqual([]);
  });

  test("of src: what is outside is known, and by whom", () => {
    const strangers = filesOf("src").flatMap((file) =>
      importsOf("src", file)
        .filter((name) => !isSource(name) && !isAsset(name))
        .filter((name) => {
          const allowed = name.startsWith("node:") ? NODE_ONLY : (OUTSIDE[packageOf(name)] ?? []);
          return !allowed.some((place) => isWithin(file, place));
        })
        .map((name) => `${file} imports ${name}`),
    );
    expect(strangers).toEqual([]);
  });

  test("of assembly: nothing from outside", () => {
    const files = filesOf("assembly");
    const strangers = files.flatMap((file) =>
      importsOf("assembly", file).filter((name) => !files.includes(name)),
    );
    expect(strangers).toEqual([]);
  });

  test.each(["src", "assembly"])("of %s: nothing that a compiler has left behind", (folder) => {
    const files = readdirSync(new URL(`${folder}/`, ROOT), { recursive: true, encoding: "utf8" });
    expect(files.filter((file) => /\.(js|d\.ts|map|tsbuildinfo)$/.test(file))).toEqual([]);
  });

  test("the folders of docs/architecture.md are those of src, in the order of the layers", () => {
    const rows = readFileSync(new URL("docs/architecture.md", ROOT), "utf8").match(/^\| `src\/.*$/gm)!;
    const named = rows.map((row) =>
      [...row.split("|")[1]!.matchAll(/`src\/(\w+\/)`/g)].map(([, folder]) => folder!),
    );
    const folders = readdirSync(new URL("src/", ROOT), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${name}/`);
    expect(named.flat().sort()).toEqual(folders.sort());
    const layerOfFolder = (folder: string) =>
      Math.max(...SRC_LAYERS.map((places, i) => (places.some((place) => place.startsWith(folder)) ? i : -1)));
    let above = Infinity;
    for (const row of named.filter((list) => list.length > 0)) {
      const layers = row.map(layerOfFolder);
      expect(Math.max(...layers), row.join()).toBeLessThan(above);
      above = Math.min(...layers);
    }
  });

  test("index.ts only re-exports", () => {
    const source = ts.createSourceFile("index.ts", textOf("src", "index.ts"), ts.ScriptTarget.ES2022);
    const others = source.statements.filter((statement) => !ts.isExportDeclaration(statement));
    expect(others.map((statement) => ts.SyntaxKind[statement.kind])).toEqual([]);
  });
});
