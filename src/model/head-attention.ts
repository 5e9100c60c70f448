import { type Angles, type Attention, anglesFrom, type CosSin, outputOf } from "./attention.ts";
import { CacheRows } from "./cache.ts";
import { ATTENTION_CALL, ROPE_CALL } from "./calls.ts";
import type { DecoderConfig, HeadAttention } from "./config.ts";
import type { Linear, Program } from "./program.ts";
import { headsOf, scaleRange, type Team } from "./team.ts";

/** Multi-head or grouped-query attention. A member computes its own heads, and all gather the results. */
export class HeadAttentionLayer implements Attention {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #sizes: HeadAttention;
  readonly #window: number;
  readonly #q: Linear;
  readonly #k: Linear;
  readonly #v: Linear;
  readonly #o: Linear;
  readonly #keys: CacheRows;
  readonly #values: CacheRows;
  /** Addresses of the weights of the norms of heads, and of the attention sinks; 0 where there are none. */
  readonly #norms: readonly [q: number, k: number];
  readonly #sinks: number;

  constructor(program: Program, config: DecoderConfig, sizes: HeadAttention, window: number, key: string) {
    const { heads, keyHeads, headDim } = sizes;
    this.#program = program;
    this.#config = config;
    this.#sizes = sizes;
    this.#window = window;
    const queries = (team: Team) => scaleRange(headsOf(heads, keyHeads, team).queries, headDim);
    const keys = (team: Team) => scaleRange(headsOf(heads, keyHeads, team).keys, headDim);
    this.#q = program.linear(`${key}.q`, queries);
    this.#k = program.linear(`${key}.k`, keys);
    this.#v = program.linear(`${key}.v`, keys);
    this.#o = outputOf(program, key, config.hidden);
    const own = this.#own;
    this.#keys = new CacheRows(program, own.keys.end - own.keys.start, headDim);
    this.#values = new CacheRows(program, own.keys.end - own.keys.start, headDim);
    this.#norms = [program.store.vector(`${key}.q_norm`), program.store.vector(`${key}.k_norm`)];
    this.#sinks = program.store.vector(`${key}.sinks`);
  }

  free(): void {
    this.#keys.free();
    this.#values.free();
  }

  get #own() {
    return headsOf(this.#sizes.heads, this.#sizes.keyHeads, this.#program.team);
  }

  apply(
    dst: number,
    x: number,
    tokens: number,
    cachedTokens: number,
    angles: Angles,
    lastTokens: number,
  ): void {
    const program = this.#program;
    const { heads, headDim } = this.#sizes;
    const { hidden, rope } = this.#config;
    const skipped = tokens - lastTokens;
    const { queries, keys } = this.#own;
    const [queryHeads, keyHeads] = [queries.end - queries.start, keys.end - keys.start];
    const q = program.floats("q", lastTokens * queryHeads * headDim);
    const k = program.floats("k", tokens * keyHeads * headDim);
    const v = program.floats("v", tokens * keyHeads * headDim);
    const products = [
      { dst: k, linear: this.#k },
      { dst: v, linear: this.#v },
    ];
    if (skipped === 0) products.push({ dst: q, linear: this.#q });
    else program.multiplyOwn(q, x + 4 * hidden * skipped, lastTokens, this.#q);
    program.multiplyOwnAll(x, tokens, products);
    const layerAngles = this.#window > 0 ? angles.local : angles;
    this.#normAndRotate(
      q,
      lastTokens,
      queryHeads,
      this.#norms[0],
      anglesFrom(skipped, layerAngles, rope.dim),
    );
    this.#normAndRotate(k, tokens, keyHeads, this.#norms[1], layerAngles);
    if (keyHeads > 0) {
      this.#keys.append(k, cachedTokens, tokens);
      this.#values.append(v, cachedTokens, tokens);
    }
    if (lastTokens === 0) return;
    const width = queryHeads * headDim;
    const whole = program.floats("heads", lastTokens * heads * headDim);
    const own = program.team.size === 1 ? whole : program.floats("own heads", lastTokens * width);
    this.#attend(own, q, lastTokens, cachedTokens + skipped);
    program.exchange.gatherColumns(program.buffer, lastTokens, [
      { shareAt: own, dst: whole, total: heads * headDim, ranges: this.#q.ranges },
    ]);
    program.multiply(dst, whole, lastTokens, this.#o);
  }

  /** Normalises each head, where the model does that, and rotates it by its position, in place. */
  #normAndRotate(x: number, tokens: number, heads: number, norm: number, { cos, sin }: CosSin): void {
    const { kernels } = this.#program;
    const { headDim } = this.#sizes;
    const { rope, epsilon } = this.#config;
    const stride = 4 * headDim;
    if (norm !== 0) kernels.rmsNorm(x, stride, x, stride, norm, tokens * heads, headDim, epsilon);
    // biome-ignore format: a table of arguments
    kernels.rope(this.#program.call(ROPE_CALL, {
      x, tokens, tokenStride: heads * stride, heads, headStride: stride,
      dim: rope.dim, cos, sin, isInterleaved: rope.isInterleaved ? 1 : 0,
    }));
  }

  #attend(out: number, q: number, tokens: number, cachedTokens: number): void {
    const program = this.#program;
    const { kernels } = program;
    const { heads, keyHeads, headDim } = this.#sizes;
    const { queries, keys } = this.#own;
    const [cachedKeys, cachedValues] = [this.#keys, this.#values];
    const group = heads / keyHeads;
    const tokenStride = 4 * (queries.end - queries.start) * headDim;
    const work = program.bytes("scores", kernels.attentionWorkspace(tokens * group, headDim, headDim));
    for (let head = keys.start; head < keys.end; head++) {
      const first = Math.max(queries.start, head * group);
      const last = Math.min(queries.end, (head + 1) * group);
      const at = 4 * (first - queries.start) * headDim;
      const slot = head - keys.start;
      // biome-ignore format: a table of arguments
      kernels.attend(program.call(ATTENTION_CALL, {
        out: out + at, outTokenStride: tokenStride, outHeadStride: 4 * headDim,
        q: q + at, qTokenStride: tokenStride, qHeadStride: 4 * headDim, tokens, group: last - first,
        keys: cachedKeys.values(slot), keyStride: cachedKeys.stride, keyScales: cachedKeys.scales(slot),
        values: cachedValues.values(slot), valueStride: cachedValues.stride, valueScales: cachedValues.scales(slot),
        scaleStride: cachedKeys.scaleStride, count: cachedTokens + tokens, dim: headDim, valueDim: headDim,
        isCausal: 1, window: this.#window, scale: this.#config.attentionScale,
        sinks: this.#sinks === 0 ? 0 : this.#sinks + 4 * first, work,
      }));
    }
  }
}
