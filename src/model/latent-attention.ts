import { type Angles, type Attention, anglesFrom, outputOf } from "./attention.ts";
import { CacheRows } from "./cache.ts";
import { ATTENTION_CALL, ROPE_CALL } from "./calls.ts";
import type { DecoderConfig, LatentAttention } from "./config.ts";
import type { Linear, Program } from "./program.ts";
import { headsOf, rowsOf, scaleRange, type Team } from "./team.ts";

/**
 * Multi-head latent attention in its absorbed form. The cache holds one vector a token: the latent c, and a
 * part with positions that all heads share. The keys and values of a head would be c Uk^T and c Uv^T. A score
 * q . (c Uk^T) equals (q Uk) . c, so queries are projected to the latent space once, attention is computed
 * there, and its result is projected back by Uv.
 */
export class LatentAttentionLayer implements Attention {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #sizes: LatentAttention;
  readonly #window: number;
  /** Projections of queries: `up` alone, or `down` to the latent queries and then `up`. */
  readonly #down: Linear | null;
  readonly #up: Linear;
  readonly #kv: Linear;
  readonly #toLatent: Linear;
  readonly #fromLatent: Linear;
  readonly #o: Linear;
  readonly #cache: CacheRows;
  readonly #queryNorm: number;
  readonly #latentNorm: number;

  constructor(program: Program, config: DecoderConfig, sizes: LatentAttention, window: number, key: string) {
    this.#program = program;
    this.#config = config;
    this.#sizes = sizes;
    this.#window = window;
    const { heads, queryRank, unrotatedDim, ropeDim, rank, valueDim } = sizes;
    const share = (team: Team) => headsOf(heads, heads, team).queries;
    this.#down = queryRank === null ? null : program.linear(`${key}.q_a`, (team) => rowsOf(queryRank, team));
    this.#up = program.linear(`${key}.q_b`, (team) => scaleRange(share(team), unrotatedDim + ropeDim));
    this.#kv = program.linear(`${key}.kv_a`, (team) => rowsOf(rank + ropeDim, team));
    this.#toLatent = program.linear(`${key}.to_latent`, share);
    this.#fromLatent = program.linear(`${key}.from_latent`, (team) => scaleRange(share(team), valueDim));
    this.#o = outputOf(program, key, config.hidden);
    this.#cache = new CacheRows(program, 1, rank + ropeDim);
    this.#queryNorm = program.store.vector(`${key}.q_a_norm`);
    this.#latentNorm = program.store.vector(`${key}.kv_a_norm`);
  }

  free(): void {
    this.#cache.free();
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
    const { kernels } = program;
    const { heads, queryRank, unrotatedDim, ropeDim, rank, valueDim } = this.#sizes;
    const ownHeads = headsOf(heads, heads, program.team).queries;
    const count = ownHeads.end - ownHeads.start;
    const kv = program.floats("kv", tokens * (rank + ropeDim));
    const latent = 4 * (rank + ropeDim);
    const headWidth = unrotatedDim + ropeDim;
    const skipped = tokens - lastTokens;
    const lastX = x + 4 * this.#config.hidden * skipped;
    const q = program.floats("q", lastTokens * count * headWidth);
    if (this.#down === null || queryRank === null) {
      program.multiply(kv, x, tokens, this.#kv);
      program.multiplyOwn(q, lastX, lastTokens, this.#up);
    } else {
      const low = program.floats("low q", lastTokens * queryRank);
      const products = [{ dst: kv, linear: this.#kv }];
      if (skipped === 0) products.push({ dst: low, linear: this.#down });
      else program.multiply(low, lastX, lastTokens, this.#down);
      program.multiplyAll(x, tokens, products);
      const stride = 4 * queryRank;
      kernels.rmsNorm(low, stride, low, stride, this.#queryNorm, lastTokens, queryRank, this.#config.epsilon);
      program.multiplyOwn(q, low, lastTokens, this.#up);
    }
    kernels.rmsNorm(kv, latent, kv, latent, this.#latentNorm, tokens, rank, this.#config.epsilon);
    const rope = { dim: ropeDim, isInterleaved: this.#config.rope.isInterleaved ? 1 : 0 };
    const keys = { x: kv + 4 * rank, tokens, tokenStride: latent, heads: 1, headStride: latent };
    kernels.rope(program.call(ROPE_CALL, { ...rope, ...anglesFrom(0, angles, ropeDim), ...keys }));
    const [tokenStride, headStride] = [4 * count * headWidth, 4 * headWidth];
    const queries = { x: q + 4 * unrotatedDim, tokens: lastTokens, tokenStride, heads: count, headStride };
    kernels.rope(program.call(ROPE_CALL, { ...rope, ...anglesFrom(skipped, angles, ropeDim), ...queries }));
    this.#cache.append(kv, cachedTokens, tokens);
    if (lastTokens === 0) return;
    const latentQ = program.floats("latent q", count * lastTokens * (rank + ropeDim));
    this.#toLatentSpace(latentQ, q, lastTokens, count);
    const latentOut = program.floats("latentOut", count * lastTokens * rank);
    this.#attend(latentOut, latentQ, lastTokens, cachedTokens + skipped, count);
    const whole = program.floats("heads", lastTokens * heads * valueDim);
    const own = program.team.size === 1 ? whole : program.floats("own heads", lastTokens * count * valueDim);
    this.#fromLatentSpace(own, latentOut, lastTokens, count);
    program.exchange.gatherColumns(program.buffer, lastTokens, [
      { shareAt: own, dst: whole, total: heads * valueDim, ranges: this.#fromLatent.ranges },
    ]);
    program.multiply(dst, whole, lastTokens, this.#o);
  }

  /** latentQ[head][token] <- (q Uk, the part of q with positions) */
  #toLatentSpace(latentQ: number, q: number, tokens: number, count: number): void {
    const program = this.#program;
    const { kernels } = program;
    const { unrotatedDim, ropeDim, rank, valueDim } = this.#sizes;
    const headWidth = unrotatedDim + ropeDim;
    const part = program.floats("part", tokens * Math.max(unrotatedDim, rank));
    const made = program.floats("made", tokens * Math.max(valueDim, rank));
    for (let head = 0; head < count; head++) {
      const from = q + 4 * head * headWidth;
      kernels.copyRows(part, 4 * unrotatedDim, from, 4 * count * headWidth, tokens, 4 * unrotatedDim);
      program.multiplyOwn(made, part, tokens, this.#toLatent, head);
      const width = 4 * (rank + ropeDim);
      const at = latentQ + head * tokens * width;
      kernels.copyRows(at, width, made, 4 * rank, tokens, 4 * rank);
      kernels.copyRows(
        at + 4 * rank,
        width,
        from + 4 * unrotatedDim,
        4 * count * headWidth,
        tokens,
        4 * ropeDim,
      );
    }
  }

  #attend(latentOut: number, latentQ: number, tokens: number, cachedTokens: number, count: number): void {
    const program = this.#program;
    const { kernels } = program;
    const { ropeDim, rank } = this.#sizes;
    if (count === 0) return;
    const dim = rank + ropeDim;
    const cache = this.#cache;
    const work = program.bytes("scores", kernels.attentionWorkspace(tokens * count, dim, rank));
    const [stride, scales] = [cache.stride, cache.scales(0)];
    // biome-ignore format: a table of arguments
    kernels.attend(program.call(ATTENTION_CALL, {
      out: latentOut, outTokenStride: 4 * rank, outHeadStride: 4 * tokens * rank,
      q: latentQ, qTokenStride: 4 * dim, qHeadStride: 4 * tokens * dim, tokens, group: count,
      keys: cache.values(0), keyStride: stride, keyScales: scales,
      values: cache.values(0), valueStride: stride, valueScales: scales,
      scaleStride: cache.scaleStride, count: cachedTokens + tokens, dim, valueDim: rank,
      isCausal: 1, window: this.#window, scale: this.#config.attentionScale, sinks: 0, work,
    }));
  }

  /** out[token][head] <- latentOut[head][token] Uv^T */
  #fromLatentSpace(out: number, latentOut: number, tokens: number, count: number): void {
    const program = this.#program;
    const { rank, valueDim } = this.#sizes;
    const made = program.floats("made", tokens * Math.max(valueDim, rank));
    for (let head = 0; head < count; head++) {
      program.multiplyOwn(made, latentOut + 4 * head * tokens * rank, tokens, this.#fromLatent, head);
      const bytes = 4 * valueDim;
      program.kernels.copyRows(out + head * bytes, count * bytes, made, bytes, tokens, bytes);
    }
  }
}
