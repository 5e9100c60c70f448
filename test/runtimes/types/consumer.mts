// What a TypeScript user of the installed package sees.

import type { BlockScaled, Engine, ErrorCode, LoadOptions, Scheme, SchemeName, ThreadedEngine } from "blockscale";
import { BlockscaleError, bf16, f16, load, schemes } from "blockscale";
import baseline from "blockscale/baseline.wasm";
import { convertCheckpoint, fileStream, localConverter, openCheckpoint, planQuantize } from "blockscale/checkpoint";
import * as external from "blockscale/external";
import * as js from "blockscale/js";
import { packScales, swizzleScales, toMnMajor } from "blockscale/scale-layouts";
import { expectTypeOf } from "expect-type";

const fp8 = await load({ variant: "baseline" });
const values = new Float32Array(64);
const tensor = fp8.quantize(values, [2, 32], schemes.mxfp8);

expectTypeOf(fp8).toEqualTypeOf<Engine>();
expectTypeOf(load()).resolves.toEqualTypeOf<Engine>();
expectTypeOf(load({ threads: 2 })).resolves.toEqualTypeOf<ThreadedEngine>();
expectTypeOf<LoadOptions["variant"]>().toEqualTypeOf<"relaxed" | "baseline" | undefined>();
expectTypeOf(fp8.variant).toEqualTypeOf<"relaxed" | "baseline" | "custom" | "js">();
expectTypeOf(fp8.encode(values, "e4m3")).toEqualTypeOf<Uint8Array>();
expectTypeOf(fp8.decode(new Uint8Array(4), "e5m2")).toEqualTypeOf<Float32Array>();
expectTypeOf(tensor).toEqualTypeOf<BlockScaled>();
expectTypeOf(tensor.scales).toEqualTypeOf<Uint8Array | Float32Array>();
expectTypeOf(fp8.dequantize(tensor)).toEqualTypeOf<Float32Array>();
expectTypeOf(fp8.dequantize(tensor, "bf16")).toEqualTypeOf<Uint16Array>();
expectTypeOf(fp8.dequantize(tensor, "f16")).toEqualTypeOf<Uint16Array>();
expectTypeOf(schemes).toEqualTypeOf<Readonly<Record<SchemeName, Scheme>>>();
expectTypeOf({ ...schemes.mxfp8, block: [1, 64] as const }).toExtend<Scheme>();
expectTypeOf(
  new BlockscaleError("shape", { where: "", expected: "", got: "", fix: "" }).code,
).toEqualTypeOf<ErrorCode>();
expectTypeOf(baseline).toEqualTypeOf<WebAssembly.Module>();

fp8.quantize(bf16(new Uint16Array(64)), [2, 32], { ...schemes.mxfp8, rounding: "floor" });
fp8.quantize(f16(new Uint16Array(64)), [2, 32], schemes.deepseekWeight, {
  out: { codes: tensor.codes, scales: tensor.scales },
});

// @ts-expect-error 16-bit patterns say what they mean
fp8.quantize(new Uint16Array(64), [2, 32], schemes.mxfp8);
// @ts-expect-error no such element format
fp8.encode(values, "e4m3fnuz");
// @ts-expect-error a tensor is readonly
tensor.format = "e5m2";
// @ts-expect-error nothing inside: the build has to be given
external.load();

expectTypeOf(external.load({ wasm: fetch("/baseline.wasm") })).resolves.toEqualTypeOf<Engine>();
expectTypeOf(external.load({ wasm: baseline })).resolves.toEqualTypeOf<Engine>();
expectTypeOf(js.load()).resolves.toEqualTypeOf<Engine>();

const opened = await openCheckpoint(new Map([["model.safetensors", new Blob()]]));
const [file] = planQuantize(opened.checkpoint, { to: "mxfp8" }).files;
const convert = localConverter(fp8, opened.sources);
expectTypeOf(fileStream(file!, { sources: opened.sources, convert })).toEqualTypeOf<ReadableStream<Uint8Array>>();
const converted = await convertCheckpoint(new Map([["model.safetensors", new Blob()]]), { engine: fp8, to: "mxfp8" });
expectTypeOf(converted.files).toEqualTypeOf<ReadonlyMap<string, Blob>>();
// @ts-expect-error an engine converts, and is not made behind your back
convertCheckpoint(converted.files, { to: "mxfp8" });

expectTypeOf(swizzleScales(new Uint8Array(8), [2, 4])).toEqualTypeOf<Uint8Array>();
expectTypeOf(toMnMajor(packScales(new Uint8Array(8), [2, 4]), [2, 1])).toEqualTypeOf<Int32Array>();
