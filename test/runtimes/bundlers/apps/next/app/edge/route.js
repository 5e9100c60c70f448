import { load, schemes } from "blockscale";

export const runtime = "edge";

export async function POST(request) {
  const fp8 = await load();
  const values = new Float32Array(await request.arrayBuffer());
  const { scales } = fp8.quantize(values, [2, 32], schemes.mxfp8);
  return new Response(`${fp8.variant}: scales ${scales}`);
}
