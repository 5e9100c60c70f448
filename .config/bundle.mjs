// Build steps that tsc does not do, by name: node .config/bundle.mjs kernels loader
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";
import { deltaOf } from "./delta.mjs";
import { examples } from "./examples.mjs";
import { BYTES_OF, textOf } from "./text.mjs";

const root = new URL("../", import.meta.url);
const path = (name) => new URL(name, root).pathname;

const VARIANTS = ["baseline", "relaxed"];

/**
 * What `import "#kernels"` and `import "#model-kernels"` find, per kind of host (package.json, imports), and the files for
 * those who host them.
 */
async function kernels() {
  await mkdir(path("dist/kernels"), { recursive: true });
  for (const set of ["", "model-"]) {
    for (const variant of VARIANTS) {
      await copyFile(path(`build/${set}${variant}.wasm`), path(`dist/kernels/${set}${variant}.wasm`));
    }
    await writeFile(path(`dist/kernels/${set}inline.js`), await inlineKernels(set));
    await writeFile(path(`dist/kernels/${set}workerd.js`), workerdKernels(set));
    await writeFile(path(`dist/kernels/${set}edge-light.js`), edgeLightKernels(set));
    await writeFile(path(`dist/kernels/${set}inline.d.ts`), KERNEL_TYPES);
  }
  await writeFile(path("dist/kernels/wasm.d.ts"), WASM_TYPES);
}

/**
 * The release builds as text, so that no host has to fetch or read a file. The relaxed build is told by its differences.
 */
async function inlineKernels(set) {
  const [source, target] = await Promise.all(
    VARIANTS.map((variant) => readFile(path(`build/${set}${variant}.wasm`))),
  );
  const { literals, steps } = deltaOf(source, target);
  return `/* @ts-self-types="./${set}inline.d.ts" */
${BYTES_OF}export function baseline() {
  return bytesOf("${textOf(source)}");
}
// In turn: bytes that are new; bytes of the baseline that are left out, or come once more; and those that are the same.
export function relaxed() {
  const source = baseline();
  const literals = bytesOf("${textOf(literals)}");
  const steps = [${steps}];
  const bytes = new Uint8Array(${target.length});
  let at = 0;
  let taken = 0;
  let from = 0;
  for (let i = 0; i < steps.length; i += 3) {
    bytes.set(literals.subarray(taken, taken + steps[i]), at);
    taken += steps[i];
    at += steps[i];
    from += steps[i + 1];
    bytes.set(source.subarray(from, from + steps[i + 2]), at);
    from += steps[i + 2];
    at += steps[i + 2];
  }
  return bytes;
}
`;
}

/** Cloudflare Workers compile no bytes: an imported .wasm file is a compiled Module. */
const workerdKernels = (set) => `import baselineModule from "./${set}baseline.wasm";
import relaxedModule from "./${set}relaxed.wasm";
export const baseline = () => baselineModule;
export const relaxed = () => relaxedModule;
`;

/** The same for Vercel's edge runtime. It compiles every import at start, and on Node 20 relaxed SIMD would not compile. */
const edgeLightKernels = (set) => `import baselineModule from "./${set}baseline.wasm?module";
export const baseline = () => baselineModule;
export const relaxed = () => undefined;
`;

const KERNEL_TYPES = `/** The wasm builds: bytes to compile, or a compiled Module where the host imports .wasm files itself. */
export declare function baseline(): WebAssembly.Module | Uint8Array<ArrayBuffer>;
/** Undefined where the host could not tell whether it runs. */
export declare function relaxed(): WebAssembly.Module | Uint8Array<ArrayBuffer> | undefined;
`;

const WASM_TYPES = `/** What importing the file gives in Cloudflare Workers; elsewhere, fetch or read it. */
declare const module: WebAssembly.Module;
export default module;
`;

/** Bundles the packages that a file imports into it; our own modules stay where they are. */
async function bundleInPlace(file, banner) {
  const ours = {
    name: "ours stays outside",
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.?\// }, ({ importer, path }) =>
        importer === file ? { path, external: true } : undefined,
      ),
  };
  await build({
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    banner: { js: `// ${banner}` },
    plugins: [ours],
  });
}

/** Takes the AssemblyScript loader into the one file that imports it, so that the package depends on nothing. */
async function loader() {
  await bundleInPlace(
    path("dist/wasm/instantiate.js"),
    "Holds @assemblyscript/loader: Apache License 2.0, see LICENSE.loader.txt",
  );
  await copyFile(path("node_modules/assemblyscript/LICENSE"), path("dist/wasm/LICENSE.loader.txt"));
}

/**
 * What workers of load({ threads }), openModel({ threads }) and createTrainer({ threads }) run, each in one piece. Of the loader they need what release builds
 * do, one line of it.
 */
const threadWorkers = ["threads", "model", "train"];
const threadWorker = (room) => ({
  entryPoints: [path(`src/${room}/worker.ts`)],
  bundle: true,
  target: "es2022",
  plugins: [
    {
      name: "without the loader",
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^@assemblyscript\/loader$/ }, () => ({ path: "loader", namespace: "raw" }));
        onLoad({ filter: /./, namespace: "raw" }, () => ({
          contents:
            "export const instantiateSync = (module, imports) => ({ instance: new WebAssembly.Instance(module, imports) });",
        }));
      },
    },
  ],
});

/** As text, which starts in every bundler. */
async function worker() {
  for (const room of threadWorkers) {
    const { outputFiles } = await build({
      ...threadWorker(room),
      write: false,
      minify: true,
      format: "iife",
    });
    await mkdir(path(`dist/${room}`), { recursive: true });
    const module = `export const source = ${JSON.stringify(outputFiles[0].text)};\n`;
    await writeFile(path(`dist/${room}/source.js`), `/* @ts-self-types="./source.d.ts" */\n${module}`);
    await writeFile(path(`dist/${room}/source.d.ts`), WORKER_TYPES);
  }
}

const WORKER_TYPES = `/** The script of a worker, which is one as a module too. */
export declare const source: string;
`;

/** As a file, for pages that allow no other workers; it imports nothing, so it can be copied and hosted. */
async function workerFile() {
  for (const room of threadWorkers) {
    await build({
      ...threadWorker(room),
      outfile: path(`dist/${room}/worker.js`),
      allowOverwrite: true,
      format: "esm",
      sourcemap: true,
    });
  }
}

/** Takes the libraries of tokenizers and chat templates into the one file that imports them. */
async function tokenizer() {
  const file = path("dist/model/tokenizer.js");
  await bundleInPlace(
    file,
    "Holds @huggingface/tokenizers and @huggingface/jinja, see LICENSES.tokenizer.txt",
  );
  const texts = await licensesOf(
    ["tokenizers", "jinja"].map((name) => `node_modules/@huggingface/${name}/package.json`),
  );
  await writeFile(path("dist/model/LICENSES.tokenizer.txt"), texts);
}

/**
 * Takes the command line with all that it imports into one file: hundreds of modules opened at once would need as many descriptors. What
 * hosts choose between (#kernels) and optional peers stay outside.
 */
async function cli() {
  const outside = ["#*", "@aws-sdk/client-s3", "bullmq", "ioredis"];
  const workersStay = {
    name: "files of workers stay where they are",
    setup: ({ onLoad }) =>
      onLoad({ filter: /\/dist\/\w+\/[\w-]+\.js$/ }, async ({ path }) => {
        const room = path.split("/").at(-2);
        const text = await readFile(path, "utf8");
        // Those of jobs lie beside the command line, the only one to start them.
        if (room === "jobs") return { contents: text };
        return { contents: text.replaceAll('URL("./worker.js"', `URL("../${room}/worker.js"`) };
      }),
  };
  const folder = path("dist/cli/");
  const bundle = (from, to, options) =>
    build({
      entryPoints: [path(from)],
      outfile: path(to),
      allowOverwrite: true,
      metafile: true,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      ...options,
    });
  const file = "dist/cli/main.js";
  const { metafile } = await bundle(file, file, {
    banner: {
      js: [
        "#!/usr/bin/env node",
        'import { createRequire as createRequireOf } from "node:module";',
        "const require = createRequireOf(import.meta.url);",
      ].join("\n"),
    },
    external: outside,
    plugins: [workersStay],
    // Half the size; names stay, for traces.
    minifyWhitespace: true,
  });
  await chmod(path(file), 0o755);
  await bundle("dist/jobs/worker.js", "dist/cli/worker.js", {
    banner: { js: "// Holds @assemblyscript/loader: Apache License 2.0, see ../wasm/LICENSE.loader.txt" },
    external: outside,
  });
  await bundle("dist/jobs/queue/heartbeat-thread.js", "dist/cli/heartbeat-thread.js", { external: outside });
  const besides = ["dist/wasm/LICENSE.loader.txt", "dist/model/LICENSES.tokenizer.txt"];
  const licences = await Promise.all(besides.map((name) => readFile(path(name), "utf8")));
  licences.unshift(await licensesOf(Object.keys(metafile.inputs)));
  await writeFile(path("dist/cli/LICENSES.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));
  // What is in main.js now, and the types of a program that nobody imports.
  for (const name of await readdir(folder)) {
    if (!/^(main|worker|heartbeat-thread)\.js$|^LICENSES/.test(name))
      await rm(folder + name, { recursive: true });
  }
}

/**
 * What the page of a report holds besides its report: the script that draws, with its library, and the style, as strings
 * of a module; and the policy that lets the page run these two and fetch nothing.
 */
async function report() {
  const { outputFiles, metafile } = await build({
    entryPoints: [path("src/report/script/main.ts"), path("src/report/script/style.css")],
    outdir: path("dist/report/"),
    write: false,
    metafile: true,
    bundle: true,
    minify: true,
    format: "iife",
    target: ["chrome109", "firefox115", "safari16.4"],
    legalComments: "none",
  });
  const textOf = (ending) => outputFiles.find((file) => file.path.endsWith(ending)).text.trim();
  const licences = (await licensesOf(Object.keys(metafile.inputs))).replaceAll("*/", "* /");
  const script = `/*\n${licences}*/\n${textOf(".js")}`;
  const style = textOf(".css");
  if (/<!--|<\/?(script|style)/i.test(script + style))
    throw new Error("The page of a report would end early.");
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  await mkdir(path("dist/report"), { recursive: true });
  const strings = Object.entries({ script, style, policy });
  const module = strings.map(([name, text]) => `export const ${name} = ${JSON.stringify(text)};\n`);
  const types = strings.map(([name]) => `export declare const ${name}: string;\n`);
  await writeFile(path("dist/report/assets.js"), module.join(""));
  await writeFile(path("dist/report/assets.d.ts"), types.join(""));
}

/**
 * Keeps what the page loads at first in one file. Parts that only some of the later views share with it would be files of
 * their own; so every one of them names all of it, which is there by then.
 */
const firstInOneFile = {
  name: "first in one file",
  setup({ onResolve, onLoad }) {
    const main = JSON.stringify(path("src/web/main.tsx"));
    onResolve({ filter: /^\./ }, ({ kind, path: wanted, resolveDir, namespace }) =>
      kind === "dynamic-import" && namespace === "file"
        ? { path: wanted, namespace: "later", pluginData: resolveDir }
        : undefined,
    );
    onLoad({ filter: /./, namespace: "later" }, ({ path: wanted, pluginData: resolveDir }) => ({
      contents: `import ${main}; export * from ${JSON.stringify(wanted)};`,
      resolveDir,
    }));
    onResolve({ filter: /\/src\/web\/main\.tsx$/ }, ({ path: entry }) => ({
      path: entry,
      sideEffects: true,
    }));
  },
};

/** The page's policy allows workers from files alone: the one of models lies beside it, and its text is left out. */
const modelWorkerFromFile = {
  name: "model's worker from a file",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^#model-worker$/ }, () => ({ path: "source", namespace: "none" }));
    onLoad({ filter: /./, namespace: "none" }, () => ({ contents: 'export const source = "";' }));
    onLoad({ filter: /\/src\/model\/script\.ts$/ }, async ({ path: file }) => ({
      contents: (await readFile(file, "utf8")).replace('URL("./worker.js"', 'URL("./model-worker.js"'),
      loader: "ts",
    }));
  },
};

/**
 * The client of the hub brings a package that hashes uploads, which the page never makes. Loading that package has no
 * effect, but it does not declare so, and esbuild would keep it: declared here, it is left out where nothing of it is used.
 */
const withoutUploads = {
  name: "without uploads",
  setup({ onResolve, resolve }) {
    onResolve(
      { filter: /^@huggingface\/xetchunk-wasm$/ },
      async ({ path: wanted, pluginData, kind, importer, namespace, resolveDir }) => {
        if (pluginData === withoutUploads) return undefined;
        const found = await resolve(wanted, {
          kind,
          importer,
          namespace,
          resolveDir,
          pluginData: withoutUploads,
        });
        return { ...found, sideEffects: false };
      },
    );
  },
};

/** The page of src/web/ as a folder that any web server can host. */
async function web() {
  const out = path("dist-web/");
  await report();
  await rm(out, { recursive: true, force: true });
  // Its entry for Node asks for Node's modules.
  const hubForBrowsers = {
    "@huggingface/hub": path("node_modules/@huggingface/hub/dist/browser/index.mjs"),
  };
  const options = {
    bundle: true,
    format: "esm",
    target: ["chrome109", "firefox115", "safari16.4"],
    minify: true,
    sourcemap: true,
    // Links point at the sources on disk otherwise.
    sourcesContent: true,
    // Half the size where there is Chinese; scripts that are modules are read as UTF-8.
    charset: "utf8",
    legalComments: "linked",
    outdir: out,
  };
  const { metafile } = await build({
    ...options,
    metafile: true,
    entryPoints: { main: path("src/web/main.tsx") },
    // What is imported when it is asked for stays out of what everybody loads.
    splitting: true,
    chunkNames: "[name]-[hash]",
    jsx: "automatic",
    jsxImportSource: "preact",
    plugins: [firstInOneFile, modelWorkerFromFile],
  });
  // Apart from the script, or every later view would bring it again.
  await build({ ...options, entryPoints: { main: path("src/web/style/index.css") } });
  // Apart from the page: what both share would be cut into many small files, and the page loads its own at first.
  await build({
    ...options,
    entryPoints: {
      "train-worker": path("src/web/train/worker.ts"),
      "run-worker": path("src/web/run/worker.ts"),
      "compare-worker": path("src/web/compare/worker.ts"),
    },
    alias: hubForBrowsers,
    splitting: true,
    chunkNames: "worker-[hash]",
    plugins: [modelWorkerFromFile, withoutUploads],
  });
  await build({ ...options, ...threadWorker("model"), outdir: undefined, outfile: `${out}model-worker.js` });
  await build({
    ...options,
    entryPoints: {
      coordinator: path("src/web/workers/coordinator.ts"),
      "strip-worker": path("src/web/workers/strip-worker.ts"),
    },
    alias: hubForBrowsers,
    plugins: [withoutUploads],
  });
  for (const name of ["icon.svg", "manifest.webmanifest"])
    await copyFile(path(`src/web/${name}`), out + name);
  const html = await readFile(path("src/web/index.html"), "utf8");
  await writeFile(
    `${out}index.html`,
    html.replace("</title>", `</title>${preloads(metafile, "dist-web/main.js")}`),
  );
  await examples(`${out}examples`);
  const files = (await readdir(out)).filter((name) => /\.(html|js|css|svg|webmanifest)$/.test(name)).sort();
  const hash = createHash("sha256");
  for (const name of files) hash.update(await readFile(out + name));
  // Examples are fetched when they are asked for, and kept from then on.
  for (const entry of await readdir(`${out}examples`, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) hash.update(await readFile(`${entry.parentPath}/${entry.name}`));
  await build({
    ...options,
    format: "iife",
    entryPoints: { "service-worker": path("src/web/service-worker.ts") },
    define: {
      FILES: JSON.stringify(["./", ...files]),
      VERSION: JSON.stringify(hash.digest("hex").slice(0, 16)),
    },
  });
}

/** Links to what a script imports, so that browsers fetch all of it at once and not one file after the other. */
function preloads({ outputs }, entry) {
  const found = new Set();
  const visit = (file) => {
    for (const { path: imported, kind } of outputs[file].imports) {
      if (kind !== "import-statement" || found.has(imported)) continue;
      found.add(imported);
      visit(imported);
    }
  };
  visit(entry);
  const names = [...found].map((file) => file.split("/").at(-1)).sort();
  return names
    .map((name) => `\n    <link rel="modulepreload" href="${name}" fetchpriority="low" />`)
    .join("");
}

/** The licences of the packages that some files belong to. */
async function licensesOf(files) {
  const packages = new Set(
    files.map((name) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(name)?.[0]).filter(Boolean),
  );
  const texts = [...packages].sort().map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(path(`${folder}/package.json`), "utf8"));
    const file = (await readdir(path(folder))).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : await readFile(path(`${folder}/${file}`), "utf8");
    return `${name} ${version}: ${license}\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(80)}\n\n`);
}

/** Removes what earlier builds left, so that a package holds only what this one makes. */
async function clean() {
  for (const folder of ["dist", "build"]) await rm(path(folder), { recursive: true, force: true });
}

const steps = { clean, kernels, worker, loader, tokenizer, workerFile, report, cli, web };

for (const name of process.argv.slice(2)) await steps[name]();
