// Products by several threads: what is wrong with them in this place, in words; nothing if all is well.
import { BlockscaleError, load, schemes } from "blockscale";

const [m, n, k] = [3, 200, 96];
const wave = (length) => Float32Array.from({ length }, (_, i) => Math.sin(i));

/**
 * The bits of one thread, from records and packed weights, and a clean end.
 * @param workers the port of a page that makes the threads
 */
export async function threadProblems(workers) {
  const one = await load();
  const fp8 = await load({ threads: 2, workers });
  const problems = [];
  const check = (name, got, want) => {
    if (got.length !== want.length || got.some((value, i) => !Object.is(value, want[i]))) problems.push(name);
  };
  for (const name of ["mxfp8", "deepseekWeight", "deepseekV3Weight"]) {
    const w = one.quantize(wave(n * k), [n, k], schemes[name]);
    const packed = await fp8.pack(w);
    const plain = { values: wave(m * k), shape: [m, k] };
    const operands = { plain, quantised: one.quantize(plain.values, [m, k], schemes.mxfp8) };
    for (const [operand, x] of Object.entries(operands)) {
      const want = one.gemm(x, w);
      check(`other bits: ${name}, x ${operand}`, await fp8.gemm(x, w), want);
      check(`other bits: ${name}, packed, x ${operand}`, await fp8.gemm(x, packed), want);
    }
    await packed.free();
    problems.push(...(await refusal(() => fp8.gemm(plain, packed), /freed/)));
  }
  await fp8.close();
  problems.push(...(await refusal(() => fp8.pack(one.quantize(wave(32), [1, 32], schemes.mxfp8)), /closed/)));
  return problems;
}

/** Where no worker can be had, `load` says so, and what to do. */
export function threadRefusal(words) {
  return refusal(() => load({ threads: 2 }), words);
}

async function refusal(attempt, words) {
  const found = await attempt().then(
    () => "nothing was refused",
    (error) => error,
  );
  return found instanceof BlockscaleError && words.test(found.message) ? [] : [String(found)];
}
