import { describe, expect, test } from "vitest";
import { summarizeScores } from "../../src/evaluate/divergence.ts";
import type { Evaluation, ScoredToken } from "../../src/evaluate/evaluate.ts";
import type { WeightFormat } from "../../src/evaluate/formats.ts";
import type { SensitiveGroup } from "../../src/evaluate/sensitivity.ts";
import { worstInText } from "../../src/evaluate/worst.ts";
import { evaluationCharts, partOf } from "../../src/report/evaluation/charts.ts";
import { evaluationPage } from "../../src/report/evaluation/page.ts";
import type { EvaluationReport } from "../../src/report/evaluation/report.ts";
import { evaluationLanguages } from "../../src/report/evaluation/words.ts";
import { FIRST_BYTES } from "../../src/report/html-page.ts";

const HOSTILE = `</script><img src=x onerror="alert(1)">'&\u202e<!--`;

/** Two chunks of 4: positions 2 and 3 of each are predicted. */
function evaluated(divergences: readonly number[], context = 4): Evaluation {
  const scores = divergences.map((divergence, i): ScoredToken => {
    const index = Math.floor(i / (context / 2)) * context + context / 2 + (i % (context / 2));
    return { index, base: -1, other: -1.25, divergence, sameTop: true };
  });
  return { context, ...summarizeScores(scores), scores };
}

function groupOf(name: string, sqnr: number): SensitiveGroup {
  return {
    name,
    weights: [`${name}.weight`],
    elements: 10,
    effects: [
      { format: "nvfp4", bits: 45, sqnr, score: 2 },
      { format: "bf16", bits: 160, sqnr: Infinity, score: 0 },
    ],
  };
}

const report: EvaluationReport = {
  model: HOSTILE,
  reference: null,
  activations: null,
  weights: null,
  evaluation: evaluated([0.1, 0.2, 0.3, 0.6]),
  worst: worstInText(evaluated([0.1, 0.2, 0.3, 0.6]), Int32Array.of(9, 8, 7, 6, 5, 4, 3, 2), null, 1),
  sensitivity: {
    measure: "gradient",
    groups: [groupOf("model.layers.1.mlp.gate, up", 20), groupOf("model.layers.0.mlp.gate, up", 18.5)],
    bits: 10,
    chosenBits: 10.25,
    chosen: new Map<string, WeightFormat>([
      ["model.layers.0.mlp.gate, up.weight", "bf16"],
      ["model.layers.1.mlp.gate, up.weight", "nvfp4"],
    ]),
    points: [
      {
        mix: "nvfp4",
        bitsPerWeight: 4.5,
        score: 4,
        perplexity: 9,
        kldMean: 0.3,
        kldError: 0.01,
        kldOverChosen: 0.1,
        kldOverChosenError: 0.02,
        sameTop: 0.5,
      },
      {
        mix: "chosen",
        bitsPerWeight: 10.25,
        score: 2,
        perplexity: 9,
        kldMean: 0.1,
        kldError: 0.01,
        kldOverChosen: 0.1,
        kldOverChosenError: 0.02,
        sameTop: 0.75,
      },
      {
        mix: "bf16",
        bitsPerWeight: 16,
        score: 0,
        perplexity: 9,
        kldMean: 0,
        kldError: 0,
        kldOverChosen: 0,
        kldOverChosenError: 0,
        sameTop: 1,
      },
    ],
  },
};

describe("the charts", () => {
  const charts = evaluationCharts(report, evaluationLanguages.en);

  test("take the tokens of one place of all chunks together", () => {
    expect(charts.positions).toEqual({
      first: [2, 3],
      mean: [0.2, 0.4],
      median: [0.2, 0.4],
      lossBase: [1, 1],
      loss: [1.25, 1.25],
    });
  });

  test("put neighbouring places of a long chunk together", () => {
    const long = evaluated(
      Array.from({ length: 256 }, (_, i) => i),
      512,
    );
    const { positions } = evaluationCharts({ ...report, evaluation: long }, evaluationLanguages.en);
    expect(positions!.first.slice(0, 3)).toEqual([256, 260, 264]);
    expect(positions!.mean.slice(0, 2)).toEqual([1.5, 5.5]);
    expect(positions!.mean).toHaveLength(64);
  });

  test("have a row for each format and part, in the order of layers, and mark the choice", () => {
    expect(charts.heat).toEqual({
      layers: ["0", "1"],
      rows: [{ format: "nvfp4", part: "gate, up" }],
      decibels: [[18.5, 20]],
      chosen: [[0, 1]],
    });
  });

  test("leave out of the curve what a logarithm cannot show, and say so", () => {
    expect(charts.curve).toEqual({
      uniform: [{ name: "nvfp4", bits: 4.5, kld: 0.3, error: 0.01 }],
      mixes: [{ name: "chosen", bits: 10.25, kld: 0.1, error: 0.01 }],
      exact: 1,
    });
  });

  test.each([
    ["model.layers.3.self_attn.q_a, kv_a", "q_a, kv_a"],
    ["model.layers.3.mlp.experts.*.down_proj", "experts.*.down_proj"],
    ["lm_head", "lm_head"],
  ])("call %s %s", (name, part) => expect(partOf(name)).toBe(part));
});

describe("the page", () => {
  const page = evaluationPage(report);
  const markup = page.replace(/<(script|style)\b.*?<\/\1>/gs, "");
  const figuresOf = (text: string) => [...text.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id);

  test("holds every chart, the worst tokens with what stands around, and all figures", () => {
    expect(page.startsWith(FIRST_BYTES)).toBe(true);
    expect(figuresOf(page)).toEqual(["curve", "heat", "positions", "losses"]);
    expect(markup).toContain('<td class="said">5 4 3<mark>2</mark></td>');
    expect(markup).toContain("Mean    KLD");
    expect(markup).toContain("10.250");
  });

  test("lets no name out of its place", () => {
    expect(markup).not.toContain("<img");
    expect(page.match(/<script/g)).toHaveLength(2);
  });

  test("of a model alone tells what it can", () => {
    const alone = evaluationPage({ ...report, sensitivity: null, worst: [] });
    expect(figuresOf(alone)).toEqual(["losses"]);
    expect(alone.includes("Mean    KLD")).toBe(false);
    const compared = evaluationPage({ ...report, sensitivity: null, reference: "original" });
    expect(figuresOf(compared)).toEqual(["positions", "losses"]);
    expect(compared.includes("<title>Evaluation: original → ")).toBe(true);
  });

  test("speaks Chinese too", () => {
    const words = evaluationPage({ ...report, model: "m" }, evaluationLanguages.zh).replace(
      /<(script|style)\b.*?<\/\1>|<[^>]*>/gs,
      " ",
    );
    expect(words).toContain("各位置的 KL 散度");
  });
});
