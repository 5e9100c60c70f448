import ort from "onnxruntime-web";
import { gemmModel, matMulModel, matMulNBitsModel } from "./onnx.mjs";

ort.env.wasm.numThreads = 1;

/** A product in onnxruntime-web, one thread of WebAssembly. */
export async function ofModel(model, x, [m, , k]) {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const feeds = { x: new ort.Tensor("float32", x, [m, k]) };
  return { run: async () => (await session.run(feeds)).y.data, free: () => session.release() };
}

/** onnxruntime-web's product of x and weights of four bits. */
export async function fourBitsOf(x, w, sizes) {
  return [await ofModel(matMulNBitsModel(w, sizes, 4), x, sizes)];
}

/** Its two products of x and weights in float32. */
export async function floatsOf(x, w, sizes) {
  return [await ofModel(matMulModel(w, sizes), x, sizes), await ofModel(gemmModel(w, sizes), x, sizes)];
}
