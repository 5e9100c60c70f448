import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { describe, expect, test } from "vitest";

const DIST = new URL("../../dist/", import.meta.url);

/** What a script asks for from elsewhere, static and dynamic. */
function importsOf(script: string): string[] {
  const pattern =
    /^(?:import|export)\b[^'"`;]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"|\b(?:import|require\d*)\(\s*"([^"]+)"\s*\)/gm;
  return [...script.matchAll(pattern)].map(([, from, bare, dynamic]) => from ?? bare ?? (dynamic as string));
}

const scripts = readdirSync(DIST, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".js"),
);

describe("the built package", () => {
  test("has the loader inside", () => {
    const script = readFileSync(new URL("wasm/instantiate.js", DIST), "utf8");
    expect(importsOf(script)).toContain("../tensor/errors.js");
    expect(importsOf(script).filter((name) => !name.startsWith("."))).toEqual([]);
    expect(script).toContain("LICENSE.loader.txt");
  });

  test("has reports for the command line alone", () => {
    const reachable = (entry: string): Set<string> => {
      const found = new Set([entry]);
      for (const file of found) {
        for (const name of importsOf(readFileSync(new URL(file, DIST), "utf8"))) {
          if (name.startsWith("."))
            found.add(new URL(name, new URL(file, DIST)).href.slice(DIST.href.length));
        }
      }
      return found;
    };
    const isReport = (file: string) => file.startsWith("report/");
    // The command line is one file, with reports inside.
    expect(readFileSync(new URL("cli/main.js", DIST), "utf8")).toContain("sqnrByLayer");
    for (const entry of [
      "index.js",
      "checkpoint/index.js",
      "plain-js.js",
      "external.js",
      "node.js",
      "model/index.js",
    ]) {
      expect([...reachable(entry)].filter(isReport)).toEqual([]);
    }
  });

  test("asks for nothing but its own files and Node's modules, but where queues and object storage are met", () => {
    expect(scripts).toContain("wasm/instantiate.js");
    const wanted = scripts.flatMap((file) =>
      importsOf(readFileSync(new URL(file, DIST), "utf8")).map((name) => ({ file, name })),
    );
    expect(wanted.length).toBeGreaterThan(20);
    const { imports, peerDependenciesMeta } = JSON.parse(
      readFileSync(new URL("../package.json", DIST), "utf8"),
    );
    const isOurs = (name: string) => name.startsWith(".") || Object.hasOwn(imports, name) || isBuiltin(name);
    const others = wanted.filter(({ name }) => !isOurs(name));
    expect([...new Set(others.map(({ file, name }) => `${file} ${name}`))].sort()).toEqual([
      "cli/heartbeat-thread.js ioredis",
      "cli/main.js @aws-sdk/client-s3",
      "cli/main.js bullmq",
      "cli/main.js ioredis",
      "cli/worker.js @aws-sdk/client-s3",
      "io/s3-sdk.js @aws-sdk/client-s3",
      "jobs/queue/connection.js bullmq",
      "jobs/queue/connection.js ioredis",
    ]);
    for (const { name } of others) expect(peerDependenciesMeta[name]).toEqual({ optional: true });
  });
});
