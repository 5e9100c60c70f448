// A file on a server, of which the page reads ranges.
import assert from "node:assert/strict";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { convert, planned, privateFiles, withPage } from "./browser.mjs";
import { inputOf, writeSmall } from "./checkpoints.mjs";
import { cli, onlyHashes, sha256 } from "./command-line.mjs";
import { withFront } from "./front.mjs";

/** Bytes that one read of a header takes. */
const HEADER_READ = 1 << 16;

/**
 * Answers what asks for ranges of a file at /far/far.safetensors, and denies all else below /far/. Counts its
 * bytes; long ranges have to wait until `release` is called.
 */
function rangesOf(path) {
  const size = statSync(path).size;
  const sent = { bytes: 0 };
  let release;
  const isReleased = new Promise((resolve) => {
    release = resolve;
  });
  const answer = (request, response) => {
    if (!request.url.startsWith("/far/")) return false;
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === undefined || request.url !== "/far/far.safetensors") {
      response.writeHead(404).end();
      return true;
    }
    const [start, end] = [Number(first), Number(last)];
    const send = () => {
      sent.bytes += end - start + 1;
      response.writeHead(206, {
        "content-range": `bytes ${start}-${end}/${size}`,
        "content-length": end - start + 1,
        etag: '"1"',
      });
      createReadStream(path, { start, end }).pipe(response);
    };
    if (end - start < HEADER_READ) send();
    else isReleased.then(send);
    return true;
  };
  return { answer, sent, release };
}

export const tests = [
  {
    name: "a file on a server: inspected from its header, timed, converted by ranges; what is not there is said",
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, `far-${env.browser}.safetensors`);
      await cli(env, "quantize", input, expected);
      const { answer, sent, release } = rangesOf(input);
      const body = async (page, { url }) => {
        await page.getByLabel("Or open one on Hugging Face").fill(`${url}far/nothing.safetensors`);
        await page.getByRole("button", { name: "Open", exact: true }).click();
        await page
          .getByRole("alert")
          .getByText(/^There is nothing at /)
          .waitFor();
        page.errors.length = 0; // the browser's own report of the 404
        await page.getByLabel("Or open one on Hugging Face").fill(`${url}far/far.safetensors`);
        await page.getByRole("button", { name: "Open", exact: true }).click();
        await page.getByTestId("rows").waitFor();
        await planned(page);
        await page.getByText("measuring…").waitFor();
        assert.ok(sent.bytes < HEADER_READ + 100, `${sent.bytes} bytes to inspect and plan`);
        release();
        await page.getByText(/^about \d/).waitFor();
        await page.getByText(/^the server gives [\d.]+ [kMG]?B\/s$/).waitFor();
        assert.ok(sent.bytes < 7e6, `${sent.bytes} bytes to measure`);
        await convert(page);
        assert.deepEqual(onlyHashes(await privateFiles(page)), { "far.safetensors": sha256(expected) });
      };
      await withFront(env, { answer }, (url) => withPage({ ...env, url }, (page) => body(page, { url })));
    },
  },
];
