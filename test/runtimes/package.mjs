// The package as it would be published: what it holds, how it resolves, what a bundler leaves of it, and its size.
import { cp, readFile, symlink } from "node:fs/promises";
import { join, posix } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { exists, HERE, ROOT, run, WASM } from "./workspace.mjs";

/** What a user downloads, in kB after minification and gzip. */
const BUDGETS = {
  'import { load } from "blockscale"; console.log(load);': 70,
  'import { load } from "blockscale/external"; console.log(load);': 21,
  'import { load } from "blockscale/js"; console.log(load);': 22,
  'import { schemes } from "blockscale"; console.log(schemes);': 1,
  'import { swizzleScales } from "blockscale/scale-layouts"; console.log(swizzleScales);': 2,
  'import { openModel } from "blockscale/model"; console.log(openModel);': 173,
  'import { createTrainer } from "blockscale/train"; console.log(createTrainer);': 155,
};

async function bundled(project, code) {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: project },
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
  });
  return outputFiles[0].text;
}

async function manifest({ path }) {
  return JSON.parse(await readFile(join(path, "node_modules/blockscale/package.json"), "utf8"));
}

/** Every file that an export or import names. */
function targetsOf(entry) {
  return typeof entry === "string" ? [entry] : Object.values(entry).flatMap(targetsOf);
}

const CHECKS = {
  "nothing but dist, LICENSE, and pages with what they show": async ({ files }) =>
    files.filter(
      (file) =>
        !/^(dist\/.*|README\.md|LICENSE|package\.json|docs\/[^/]+\.(md|svg)|bench\/gemm\.svg|test\/examples\/[^/]+\.(mjs|yaml))$/.test(
          file,
        ),
    ),

  "links of README and docs lead to files of the package": async ({ path, files }) => {
    const lost = [];
    for (const page of files.filter((file) => file.endsWith(".md"))) {
      const text = await readFile(join(path, "node_modules/blockscale", page), "utf8");
      for (const [, link] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g))
        if (!link.includes(":") && !files.includes(posix.join(posix.dirname(page), link)))
          lost.push(`${page}: ${link}`);
    }
    return lost;
  },

  "no dependencies but peers that may be left out": async (project) => {
    const { dependencies, peerDependencies, peerDependenciesMeta, optionalDependencies } =
      await manifest(project);
    const needed = Object.keys({ ...peerDependencies }).filter(
      (name) => peerDependenciesMeta?.[name]?.optional !== true,
    );
    return [...Object.keys({ ...dependencies, ...optionalDependencies }), ...needed];
  },

  "no script that runs at an install": async (project) => {
    const { scripts } = await manifest(project);
    return Object.keys(scripts).filter((name) => /^(prepare|(pre|post)?install)$/.test(name));
  },

  "every export and import leads to a file": async (project) => {
    const { exports, imports, bin } = await manifest(project);
    const targets = targetsOf([exports, imports, bin].map((entry) => Object.values(entry)));
    return targets.filter((target) => !project.files.includes(target.replace("./", "")));
  },

  "source maps with their sources": async ({ path, files }) => {
    // The command line is a program, not a library: nobody steps through it, and its maps would be a third of the package.
    const written = files.filter((file) =>
      /^dist\/(?!cli\/|kernels\/|(threads|model|train)\/source\.|report\/assets\.).*\.js$/.test(file),
    );
    const lacking = files.filter((file) => /^dist\/cli\/.*\.map$|\.d\.ts\.map$/.test(file));
    for (const file of written) {
      const text = await readFile(join(path, "node_modules/blockscale", `${file}.map`), "utf8").catch(
        () => "{}",
      );
      if (JSON.parse(text).sourcesContent?.every((source) => source !== null) !== true)
        lacking.push(`${file}.map`);
    }
    return lacking;
  },

  publint: async ({ path }) => {
    const pkgDir = join(path, "node_modules/blockscale");
    const { messages, pkg } = await publint({ pkgDir, strict: true });
    return messages.map((message) => formatMessage(message, pkg, { color: false }));
  },

  "are the types wrong (esm-only)": async ({ tarball }) => {
    await run(join(HERE, "node_modules/.bin/attw"), [tarball, "--profile", "esm-only"]);
    return [];
  },

  "JSR: a dry run of publishing, with explicit types": async (project) => {
    const { version, exports } = JSON.parse(await readFile(join(project.checkout, "deno.json"), "utf8"));
    const ours = await manifest(project);
    const entries = Object.keys(ours.exports).filter((name) => !/\.(json|wasm)$/.test(name));
    const deno = join(HERE, "node_modules/@deno/linux-x64-glibc/deno");
    const env = { DENO_DIR: join(project.path, ".deno"), DENO_NO_UPDATE_CHECK: "1" };
    await run(deno, ["publish", "--dry-run", "--allow-dirty"], { cwd: project.checkout, env });
    return [
      ...(version === ours.version ? [] : [`deno.json has version ${version}`]),
      ...entries.filter((name) => !(name in exports)).map((name) => `deno.json does not export ${name}`),
    ];
  },

  "types under nodenext and bundler": async ({ path }) => {
    const packages = join(path, "node_modules/expect-type");
    if (!(await exists(packages))) await symlink(join(HERE, "node_modules/expect-type"), packages);
    await cp(join(HERE, "types"), join(path, "types"), { recursive: true });
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    await run("node", [tsc, "-p", "types"], { cwd: path });
    await run("node", [tsc, "-p", "types", "--module", "esnext", "--moduleResolution", "bundler"], {
      cwd: path,
    });
    return [];
  },

  "schemes alone pull no wasm and no loader": async ({ path }) => {
    const text = await bundled(path, 'import { schemes } from "blockscale"; console.log(schemes.mxfp8);');
    return [WASM, "WebAssembly", "TextEncoder"].filter((trace) => text.includes(trace));
  },

  "blockscale/external and blockscale/js hold no wasm": async ({ path }) => {
    const entries = ["blockscale/external", "blockscale/js"];
    const texts = await Promise.all(
      entries.map((name) => bundled(path, `import { load } from "${name}"; load();`)),
    );
    return entries.filter((_, i) => texts[i].includes(WASM));
  },

  ...Object.fromEntries(
    Object.entries(BUDGETS).map(([code, budget]) => [
      `${code.match(/\{.*"/)[0]} within ${budget} kB`,
      async ({ path }) => {
        const size = gzipSync(await bundled(path, code)).length / 1000;
        console.log(`      ${size.toFixed(1)} kB`);
        return size <= budget ? [] : [`${size.toFixed(1)} kB`];
      },
    ]),
  ),
};

export const checkPackage = {
  name: "package",
  async drive(project) {
    const results = [];
    const { version } = await manifest(project);
    for (const [place, check] of Object.entries(CHECKS)) {
      const problems = await check(project).catch((error) => [error.message]);
      results.push({ runtime: "package", version, place, build: "", problems });
    }
    return results;
  },
};
