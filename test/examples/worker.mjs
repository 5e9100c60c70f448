// An edge worker that hands out FP8 checkpoints in BF16, or BF16 ones in FP8, without ever holding more than a few
// megabytes of them: GET /?from=https://.../model.safetensors&to=bf16
// A file that fits into the worker's memory can be sent instead: POST /?to=mxfp8
import { load } from "blockscale";
import {
  fileStream,
  localConverter,
  openCheckpoint,
  openUrl,
  planDequantize,
  planQuantize,
} from "blockscale/checkpoint";

/**
 * Whether the client takes gzip: FP8 codes lose 18 % by it, BF16 values 22 %, and none of the
 * encodings that a worker knows does better.
 */
const takesGzip = ({ headers }) =>
  /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(headers.get("accept-encoding") ?? "");

/** The bytes of a converted file, with their number told beforehand. */
async function convert(source, to, signal) {
  const { checkpoint, sources } = await openCheckpoint(new Map([["model.safetensors", source]]));
  const isPlain = ["bf16", "f16", "f32"].includes(to);
  const plan = isPlain ? planDequantize(checkpoint, { dtype: to }) : planQuantize(checkpoint, { to });
  const [file] = plan.files;
  const stream = fileStream(file, { sources, convert: localConverter(await load(), sources), signal });
  return { stream, size: file.size };
}

export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    const { method, signal } = request;
    try {
      const source =
        method === "POST" ? await request.blob() : await openUrl(searchParams.get("from"), { signal });
      const { stream, size } = await convert(source, searchParams.get("to") ?? "bf16", signal);
      const headers = { "content-type": "application/octet-stream", vary: "accept-encoding" };
      if (takesGzip(request)) {
        const body = stream.pipeThrough(new CompressionStream("gzip"));
        // Cloudflare's runtime would encode it again.
        return new Response(body, {
          headers: { ...headers, "content-encoding": "gzip" },
          encodeBody: "manual",
        });
      }
      // Cloudflare's runtime takes the length from a stream of its own; others from the header.
      const body =
        typeof FixedLengthStream === "function" ? stream.pipeThrough(new FixedLengthStream(size)) : stream;
      return new Response(body, { headers: { ...headers, "content-length": String(size) } });
    } catch (error) {
      if (error.name !== "BlockscaleError") throw error;
      return new Response(`${error.message}\n`, { status: 422 });
    }
  },
};
