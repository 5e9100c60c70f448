// The part that every runtime shares: the suite on each engine that the package offers.
import * as blockscale from "blockscale";
import * as checkpoints from "blockscale/checkpoint";
import * as js from "blockscale/js";
import { conformance } from "./conformance.js";

export async function report() {
  return {
    chosen: await conformance(await blockscale.load(), blockscale, checkpoints),
    baseline: await conformance(await blockscale.load({ variant: "baseline" }), blockscale, checkpoints),
    js: await conformance(await js.load(), js, checkpoints),
  };
}
