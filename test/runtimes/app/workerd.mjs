// Cloudflare Workers: answers with the report, from a handler, where no WebAssembly can be compiled.
import { report } from "./report.mjs";
import { threadRefusal } from "./threads.mjs";

export default {
  async fetch({ url }) {
    if (url.endsWith("/threads")) return Response.json(await threadRefusal(/expected a host with workers/));
    return Response.json(await report());
  },
};
