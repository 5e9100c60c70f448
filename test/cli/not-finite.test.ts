import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { valuesAs } from "../support/checkpoint-files.ts";
import { blockscale, start, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";

const folder = temporaryFolder();

async function file(name: string, weights: { readonly [name: string]: readonly number[] }): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  const stored = Object.entries(weights).map(([weight, values]) =>
    valuesAs(weight, "F32", [1, values.length], Float32Array.from(values)),
  );
  await writeFileWith(path, stored);
  return path;
}

describe("compare", () => {
  test("says which values are not finite on one side, and ends with 1", async () => {
    const a = await file("a", { w: [1, 1, 1], v: [1, 2, 3] });
    const b = await file("b", { w: [1, NaN, 1], v: [1, 2, 3] });
    const { code, out, err } = await blockscale("compare", a, b);
    expect(code).toBe(1);
    expect(err).toMatch(/^blockscale: .*1 value NaN or Inf on one side; first of all in tensor "w"\..*\n$/);
    expect(out).toMatch(/\| w .* 1 not finite .*\[0, 0\] /);
    expect(out).toMatch(/\| v .* exact /);
    expect(out).not.toMatch(/NaN|Infinity/);
    const json = await blockscale("compare", a, b, "--json");
    expect(json.code).toBe(1);
    const { tensors, total } = JSON.parse(json.out);
    expect(total).toEqual({ compared: 2, nonFinite: 1 });
    expect(tensors[0]).toMatchObject({
      name: "w",
      precision: { sqnrDb: "-Infinity", nonFinite: 1 },
      worstBlock: { noiseToSignal: "Infinity" },
    });
    expect(tensors[1]).toMatchObject({ precision: { sqnrDb: null, nonFinite: 0 }, worstBlock: null });
  });

  test("of tensors that are on one side, or of other shapes, ends with 1", async () => {
    const a = await file("c", { w: [1], only: [1], shape: [1] });
    const b = await file("d", { w: [1.5], shape: [1, 2] });
    const { code, out, err } = await blockscale("compare", a, b);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("1 only in A, 1 differs") });
    expect(out).toMatch(/\| only .* only in A /);
    expect((await blockscale("compare", b, a)).err).toContain("1 only in B");
  });

  test("of what lost precision, and of NaN and Inf on both sides, ends with 0", async () => {
    const a = await file("e", { w: [1, NaN, Infinity], zero: [0] });
    const b = await file("f", { w: [1.5, NaN, Infinity], zero: [1] });
    const { code, out, err } = await blockscale("compare", a, b);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).not.toMatch(/NaN|Infinity/);
    expect(out).toMatch(/\| zero .* -inf .* \[0, 0\] /);
    const { tensors } = JSON.parse((await blockscale("compare", a, b, "--json")).out);
    expect(tensors[1].precision).toMatchObject({ sqnrDb: "-Infinity", nonFinite: 0, cosine: 0 });
  });
});

describe("Ctrl-C ends with 130 and one message", () => {
  /**
   * A module that interrupts the process as soon as it opens a file to
   * read: once, as twice would end it at once.
   */
  const INTERRUPTING = `data:text/javascript,${encodeURIComponent(`
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    const { open } = fs.promises;
    fs.promises.open = (path, ...rest) => {
      process.kill(process.pid, "SIGINT");
      fs.promises.open = open;
      syncBuiltinESMExports();
      return open(path, ...rest);
    };
    syncBuiltinESMExports();
  `)}`;
  const interrupted = { code: 130, out: "", err: expect.stringMatching(/^blockscale: .*SIGINT.*\n$/) };

  test.each(["inspect", "compare"])("%s, of files", async (command) => {
    const path = await file("g", { w: [1] });
    const args = command === "compare" ? [path, path] : [path];
    expect(await start([command, ...args], ["--import", INTERRUPTING]).ended).toEqual(interrupted);
  });

  test("inspect, when everything has been read", async () => {
    // The header is decoded after the last read. Node decodes texts of its own before.
    const interrupting = `data:text/javascript,${encodeURIComponent(`
      const { decode } = TextDecoder.prototype;
      TextDecoder.prototype.decode = function (...bytes) {
        const text = decode.apply(this, bytes);
        if (text.startsWith('{"')) process.kill(process.pid, "SIGINT");
        return text;
      };
    `)}`;
    const path = await file("h", { w: [1] });
    expect(await start(["inspect", path], ["--import", interrupting]).ended).toEqual(interrupted);
  });

  test.each(["inspect", "compare"])("%s, waiting for a server", async (command) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.safetensors`;
    const { child, ended } = start([command, ...(command === "compare" ? [url, url] : [url])]);
    await new Promise((resolve) => server.once("request", resolve));
    child.kill("SIGINT");
    expect(await ended).toEqual(interrupted);
    server.closeAllConnections();
    server.close();
  });
});
