// A page whose Content-Security-Policy refuses WebAssembly: the plain JavaScript runs, and the other build says what to do.
import * as blockscale from "blockscale";
import * as checkpoints from "blockscale/checkpoint";
import * as js from "blockscale/js";
import { conformance } from "./conformance.js";

async function report() {
  const refusal = await blockscale.load().then(
    () => "WebAssembly was not refused",
    (error) =>
      error instanceof blockscale.BlockscaleError &&
      error.code === "wasm" &&
      /wasm-unsafe-eval.*blockscale\/js/.test(error)
        ? []
        : String(error),
  );
  const { failures, ...rest } = await conformance(await js.load(), js, checkpoints);
  return { chosen: { ...rest, failures: failures.concat(refusal) } };
}

report().then(
  (reports) => parent.postMessage(reports),
  (error) => parent.postMessage({ error: String(error) }),
);
