// Everything is run from a package that was packed and installed, never from the source tree.
import { execFile } from "node:child_process";
import { access, cp, mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { textOf } from "../../.config/text.mjs";

export const HERE = dirname(fileURLToPath(import.meta.url));
export const ROOT = join(HERE, "../..");

/** How an inlined wasm file starts: the magic number and the version. */
export const WASM = textOf(Buffer.from("0061736d01000000", "hex"));

/** Runs a command to its end; a failure carries what it printed. */
export async function run(command, parameters, { cwd = ROOT, timeout = 300_000, env = {} } = {}) {
  const options = {
    cwd,
    timeout,
    killSignal: "SIGKILL",
    maxBuffer: 1 << 26,
    // Vite's dev server sets NODE_ENV in our own process, and Next would build for development.
    env: { ...process.env, NODE_ENV: undefined, ...env },
  };
  try {
    return (await promisify(execFile)(command, parameters, options)).stdout;
  } catch (error) {
    const printed = `${error.stdout ?? ""}\n${error.stderr ?? ""}`.trim().slice(-3000);
    throw new Error(
      `${command} ${parameters.join(" ")}: ${error.killed ? "timed out" : "failed"}\n${printed}`,
    );
  }
}

export function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * Installs a folder's locked packages, unless they are there. Install
 * scripts stay off: every binary is a package.
 */
export async function installPackages(folder) {
  const stamp = join(folder, "node_modules/.package-lock.json");
  const lock = join(folder, "package-lock.json");
  if ((await exists(stamp)) && (await isNewer(stamp, lock))) return;
  await run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], {
    cwd: folder,
    timeout: 300_000,
  });
}

async function isNewer(path, than) {
  return (await stat(path)).mtimeMs >= (await stat(than)).mtimeMs;
}

/** A folder of our own that `remove` takes away again. */
export async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "blockscale-runtimes-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Builds and packs what git tracks or would track, in a clean copy: the state of the working tree without its
 * leftovers.
 * @returns the tarball, the paths in it, its size, and the copy it was built in
 */
export async function pack(folder) {
  const copy = join(folder, "checkout");
  const listed = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
  for (const file of listed.split("\0").filter(Boolean)) {
    if (!(await exists(join(ROOT, file)))) continue;
    await mkdir(dirname(join(copy, file)), { recursive: true });
    await cp(join(ROOT, file), join(copy, file));
  }
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const printed = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: copy });
  const [{ filename, files, size }] = JSON.parse(printed.slice(printed.lastIndexOf("\n[") + 1));
  return { tarball: join(folder, filename), files: files.map(({ path }) => path), size, checkout: copy };
}

/** A project with nothing in it but the installed tarball and the given files. */
export async function createProject(folder, tarball, files = {}) {
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ name: "app", private: true, type: "module" }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--offline", tarball], {
    cwd: folder,
  });
  for (const [name, source] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await cp(source, join(folder, name), { recursive: true });
  }
}
