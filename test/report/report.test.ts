import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { summarize } from "../../src/checkpoint/measure/summary.ts";
import { surveyPairs } from "../../src/checkpoint/measure/survey.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { load } from "../../src/load.ts";
import { chartsOf } from "../../src/report/charts.ts";
import { FIRST_BYTES } from "../../src/report/html-page.ts";
import { layersOf } from "../../src/report/layers.ts";
import { reportPage } from "../../src/report/page.ts";
import {
  conversionReport,
  inspectionReport,
  type Report,
  type ReportedTensor,
  scalesFound,
  scalesOf,
} from "../../src/report/report.ts";
import { languages } from "../../src/report/words.ts";
import { checkpointOf, fileWith, run, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal } from "../support/random.ts";

const engine = await load();

const HOSTILE = `</script><img src=x onerror="alert(1)">'&\u202e<!--`;

const PRECISION = {
  sqnrDb: 31.5,
  maxRelativeError: 0.06,
  maxAbsoluteError: 0.1,
  maxErrorOfAmax: 0.03,
  amax: 1,
  saturated: 0,
  flushedToZero: 0,
  nonFinite: 0,
  values: 16,
};

function tensor(
  name: string,
  precision: Partial<typeof PRECISION> | null,
  db?: number | null,
): ReportedTensor {
  return {
    name,
    shape: [4, 4],
    before: { dtype: "BF16", bytes: 32 },
    after: { dtype: "F8_E4M3", bytes: 20 },
    precision:
      precision === null
        ? null
        : { ...PRECISION, ...precision, ...(db === undefined ? {} : { sqnrDb: db as number }) },
    worstBlock: null,
    note: precision === null ? "kept" : null,
  };
}

function reportOf(tensors: readonly ReportedTensor[], more: Partial<Report> = {}): Report {
  return {
    kind: "quantize",
    input: "in",
    output: "out",
    format: "mxfp8",
    tensors,
    total: null,
    totalValues: null,
    files: [],
    scales: null,
    survey: null,
    ...more,
  };
}

/** The page without its script, its style and the data of its charts. */
function markupOf(page: string): string {
  return page.replace(/<(script|style)\b.*?<\/\1>/gs, "");
}

/** Rows of the table of tensors, as text. */
function rowsOf(page: string): string[] {
  const [body] = /<table class="sortable">.*?<tbody>(.*?)<\/tbody>/s.exec(page)!.slice(1);
  return body!.split("</tr>").slice(0, -1);
}

describe("layers", () => {
  test("are the first number of a name, in the order of numbers, others at the end", () => {
    const names = ["lm_head.weight", "m.layers.10.a.3.w", "m.layers.2.b", "m.layers.10.c"];
    expect(layersOf(names, "others")).toEqual({ labels: ["2", "10", "others"], of: [2, 1, 0, 1] });
  });

  test("of several stacks are told apart, in the order in which these come", () => {
    const { labels } = layersOf(["visual.blocks.1.w", "model.layers.0.w", "visual.blocks.0.w"], "others");
    expect(labels).toEqual(["visual.blocks.0", "visual.blocks.1", "model.layers.0"]);
  });
});

describe("charts", () => {
  test("have a point for each tensor that lost something; exact ones are counted", () => {
    const { points } = chartsOf(
      reportOf([
        tensor("l.1.b", {}),
        tensor("l.0.a", {}),
        tensor("l.0.exact", {}, null),
        tensor("kept", null),
      ]),
      languages.en,
    );
    expect(points).toEqual({
      names: ["l.0.a", "l.1.b"],
      layers: [0, 1],
      decibels: [31.5, 31.5],
      hidden: 0,
      exact: 1,
    });
  });

  test.each([null, -Infinity])("what became NaN or Inf is never exact (%s dB)", (db) => {
    const report = reportOf([tensor("l.0.a", { nonFinite: 3 }, db), tensor("l.0.b", {}, null)]);
    expect(chartsOf(report, languages.en).points).toMatchObject({
      names: ["l.0.a"],
      decibels: [null],
      exact: 1,
    });
    const page = reportPage(report);
    const [bad, good] = rowsOf(page);
    expect(bad).toContain("NaN or Inf");
    expect(bad).not.toContain("exact");
    expect(good).toContain(">exact<");
    expect(markupOf(page)).toContain('<div class="bad"><dt>NaN or Inf</dt><dd>3</dd></div>');
  });
});

describe("a conversion and an inspection", () => {
  const values = (seed: number, rows: number) => randomNormal(seed, rows * 256);
  const source = fileWith([
    valuesAs("m.layers.0.up_proj.weight", "BF16", [256, 256], values(1, 256)),
    valuesAs("m.layers.1.up_proj.weight", "BF16", [384, 256], values(2, 384)),
    valuesAs("m.norm.weight", "BF16", [256], values(3, 1)),
  ]);

  async function converted() {
    const checkpoint = await checkpointOf({ m: source });
    const plan = planQuantize(checkpoint, { to: "mxfp8" });
    const { files, measured } = await run(plan, [source], engine);
    const made = { checkpoint: await checkpointOf({ m: files[0]! }), sources: files };
    return { before: { checkpoint, sources: [source] }, made, summary: summarize(plan, measured) };
  }

  test("count every scale by its exponent", async () => {
    const { made } = await converted();
    const inspection = await inspect(made.checkpoint, made.sources);
    const { scaled } = inspection.tensors.find(({ name }) => name === "m.layers.1.up_proj.weight")!;
    const place = made.checkpoint.shards[0]!.header.tensors.find(({ name }) =>
      name.endsWith("layers.1.up_proj.weight_scale_inv"),
    )!;
    const start = made.checkpoint.shards[0]!.header.dataStart + place.begin;
    const bytes = new Uint8Array(await made.sources[0]!.slice(start, start + 384 * 8).arrayBuffer());
    const { minExponent, counts, count } = scaled!.facts!;
    expect(count).toBe(384 * 8);
    expect(counts).toEqual(
      counts.map((_, i) => bytes.filter((byte) => byte - 127 === minExponent + i).length),
    );
    const { exponents } = chartsOf(inspectionReport("m", inspection), languages.en);
    expect(exponents!.counts.reduce((a, b) => a + b)).toBe((256 + 384) * 8);
    expect(exponents!.byLayer.map((layer) => layer.reduce((a, b) => a + b))).toEqual([256 * 8, 384 * 8]);
  });

  test("give a page with every chart and every tensor, which says how much was looked at", async () => {
    const { before, made, summary } = await converted();
    const names = new Set(["m.layers.0.up_proj.weight", "m.layers.1.up_proj.weight"]);
    const survey = await surveyPairs([before, made], names, engine);
    const page = reportPage(
      conversionReport({
        kind: "quantize",
        input: "a",
        output: "b",
        format: "mxfp8",
        summary,
        files: [],
        scales: scalesFound("output", scalesOf(await inspect(made.checkpoint, made.sources))),
        survey,
      }),
    );
    expect([...page.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id)).toEqual([
      "sqnr",
      "exponents",
      "layers",
      "errors",
      "values",
    ]);
    expect(rowsOf(page)).toHaveLength(3);
    expect(markupOf(page)).toContain(
      "Looked at 163,840 of 163,840 values, in rows spread evenly over 2 of 2 tensors.",
    );
    expect(markupOf(page)).toContain("Scales of the output by power of two: all 5,120 of them.");
  });
});

describe("the page", () => {
  const page = reportPage(
    reportOf([tensor(HOSTILE, {}), tensor(`l.0.${HOSTILE}`, null)], {
      input: HOSTILE,
      output: HOSTILE,
      format: HOSTILE,
      files: [{ name: HOSTILE, bytes: 1, checksum: HOSTILE }],
    }),
  );

  test("lets no name out of its place", () => {
    expect(markupOf(page)).not.toContain("<img");
    expect(markupOf(page)).not.toContain("\u202e");
    expect(page.match(/<script/g)).toHaveLength(2);
    expect(page.match(/<\/script/g)).toHaveLength(2);
    expect(
      page.split("&lt;/script&gt;&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#39;&amp;\\u202e&lt;!--")
        .length,
    ).toBeGreaterThan(6);
    const [, data] = /<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(page)!;
    expect(JSON.parse(data!).points.names).toEqual([HOSTILE.replace("\u202e", "\\u202e")]);
  });

  test("allows its own script and style by their hashes, and nothing else", () => {
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)!;
    const hashOf = (pattern: RegExp) =>
      `'sha256-${createHash("sha256").update(pattern.exec(page)![1]!).digest("base64")}'`;
    expect(policy!.split("; ")).toEqual([
      "default-src 'none'",
      `script-src ${hashOf(/<script>(.*?)<\/script>/s)}`,
      `style-src ${hashOf(/<style>(.*?)<\/style>/s)}`,
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
    expect(markupOf(page).match(/<[^>]*\s(style|on\w+|src)=[^>]*>/g)).toBeNull();
    expect(page.match(/href="[^"]*"/g)).toEqual(['href="data:,"']);
  });

  test("is known by its first bytes, and names the licence of what it holds", () => {
    expect(page.startsWith(FIRST_BYTES)).toBe(true);
    expect(/uplot [\d.]+: MIT/.test(page)).toBe(true);
  });

  test("of very many tensors lists the worst, and says so", () => {
    const many = Array.from({ length: 12_000 }, (_, i) =>
      tensor(`l.${i % 60}.${i}`, {}, i % 7 === 0 ? 20 : null),
    );
    const long = reportPage(reportOf(many));
    expect(rowsOf(long)).toHaveLength(4000);
    expect(rowsOf(long).filter((row) => row.includes("20.00 dB"))).toHaveLength(Math.ceil(12_000 / 7));
    expect(markupOf(long)).toContain("4,000 of 12,000 tensors are listed");
  });

  test("speaks Chinese too", () => {
    const words = markupOf(reportPage(reportOf([tensor("l.0.a", {})]), languages.zh));
    expect(words).toContain("各层的 SQNR");
    expect(words.replace(/<[^>]*>/g, " ")).not.toMatch(/[a-z]{3,} [a-z]{3,}/);
  });
});
