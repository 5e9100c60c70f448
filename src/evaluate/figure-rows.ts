import type { Divergence } from "./divergence.ts";

/** One figure by the name that `llama-perplexity` prints. */
export interface FigureRow {
  readonly name: string;
  readonly value: number;
  /** Standard error, where the figure is a mean. */
  readonly error?: number;
  /** A share, which is read in per cent. */
  readonly isShare?: true;
}

/**
 * The figures of an evaluation in the order and by the names of
 * `llama-perplexity --kl-divergence`, under its headings.
 */
export function figureRows(e: Divergence): { readonly title: string; readonly rows: readonly FigureRow[] }[] {
  const { errors } = e;
  const share = (name: string, value: number, error?: number): FigureRow => ({
    name,
    value,
    isShare: true,
    ...(error === undefined ? {} : { error }),
  });
  return [
    {
      title: "Perplexity statistics",
      rows: [
        { name: "Mean PPL(Q)", value: e.perplexity, error: errors.perplexity },
        { name: "Mean PPL(base)", value: e.perplexityBase, error: errors.perplexityBase },
        share("Cor(ln(PPL(Q)), ln(PPL(base)))", e.correlation),
        { name: "Mean ln(PPL(Q)/PPL(base))", value: e.lnPerplexityRatio, error: errors.lnPerplexityRatio },
        { name: "Mean PPL(Q)/PPL(base)", value: e.perplexityRatio, error: errors.perplexityRatio },
        {
          name: "Mean PPL(Q)-PPL(base)",
          value: e.perplexityDifference,
          error: errors.perplexityDifference,
        },
      ],
    },
    {
      title: "KL divergence statistics",
      rows: [
        { name: "Mean    KLD", value: e.kldMean, error: errors.kldMean },
        { name: "Maximum KLD", value: e.kldMax },
        { name: "99.9%   KLD", value: e.kld999 },
        { name: "99.0%   KLD", value: e.kld99 },
        { name: "95.0%   KLD", value: e.kld95 },
        { name: "90.0%   KLD", value: e.kld90 },
        { name: "Median  KLD", value: e.kldMedian },
        { name: "10.0%   KLD", value: e.kld10 },
        { name: " 5.0%   KLD", value: e.kld5 },
        { name: " 1.0%   KLD", value: e.kld1 },
        { name: " 0.1%   KLD", value: e.kld01 },
        { name: "Minimum KLD", value: e.kldMin },
      ],
    },
    {
      title: "Token probability statistics",
      rows: [
        share("Mean    Δp", e.meanDeltaP, errors.meanDeltaP),
        share("Maximum Δp", e.maxDeltaP),
        share("99.9%   Δp", e.deltaP999),
        share("99.0%   Δp", e.deltaP99),
        share("95.0%   Δp", e.deltaP95),
        share("90.0%   Δp", e.deltaP90),
        share("75.0%   Δp", e.deltaP75),
        share("Median  Δp", e.medianDeltaP),
        share("25.0%   Δp", e.deltaP25),
        share("10.0%   Δp", e.deltaP10),
        share(" 5.0%   Δp", e.deltaP5),
        share(" 1.0%   Δp", e.deltaP1),
        share(" 0.1%   Δp", e.deltaP01),
        share("Minimum Δp", e.minDeltaP),
        share("RMS Δp    ", e.rmsDeltaP, errors.rmsDeltaP),
        share("Same top p", e.sameTop, errors.sameTop),
      ],
    },
  ];
}
