// Cloudflare Workers: answers with the report, from a handler, where no WebAssembly can be compiled.
import { report } from "./report.mjs";

export default {
  async fetch() {
    return Response.json(await report());
  },
};
