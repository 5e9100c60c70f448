// The picture and the table of docs/training.md, of the runs of bench/training.mjs: node bench/training-report.mjs [results.json] [picture.svg]
import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";

const here = (path) => new URL(path, import.meta.url).pathname;
const [results = here("results/training.json"), picture = here("../docs/training.svg")] =
  process.argv.slice(2);
const { runs, steps } = JSON.parse(readFileSync(results, "utf8"));
const recipes = [...new Set(runs.map(({ recipe }) => recipe))];
const seeds = [...new Set(runs.map(({ seed }) => seed))].sort();
const find = (recipe, seed) => runs.find((one) => one.recipe === recipe && one.seed === seed);
const bits = (nats) => (nats / Math.LN2).toFixed(4);
const signed = (share) => `${share >= 0 ? "+" : ""}${(100 * share).toFixed(2)} %`;

/** Held-out loss of a run against float32 of the same seed. */
function difference(recipe, seed) {
  const [one, base] = [find(recipe, seed), find("f32", seed)];
  return one && base && one.validation / base.validation - 1;
}

const rows = recipes.map((recipe) => {
  const known = seeds.map((seed) => difference(recipe, seed)).filter((value) => value !== undefined);
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  return [
    `\`${recipe}\``,
    seeds.map((seed) => (find(recipe, seed) ? bits(find(recipe, seed).validation) : "–")).join(", "),
    recipe === "f32" ? "" : known.map(signed).join(", "),
    recipe === "f32" ? "" : signed(mean),
  ];
});
const heads = ["recipe", "held-out bits a byte, by seed", "against float32 of the same seed", "mean"];
console.log(markdownTable([heads, ...rows], { align: ["l", "l", "l", "r"] }));
const base = seeds.map((seed) => find("f32", seed)?.validation).filter((value) => value !== undefined);
console.log(`\nfloat32 of ${base.length} seeds: spread ${signed(Math.max(...base) / Math.min(...base) - 1)}`);

/** Differences of training losses, means of fifty steps, against float32 of the same seed: a line for each run. */
const COLOURS = ["#888", "#111", "#1668c4", "#1a9850", "#d73027", "#e08214", "#7b3294", "#c51b7d"];
const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [760, 360, 56, 34, 150, 40];
const lines = recipes.flatMap((recipe, i) =>
  recipe === "f32"
    ? []
    : seeds.flatMap((seed) => {
        const [one, own] = [find(recipe, seed), find("f32", seed)];
        if (!one || !own) return [];
        const mean = (curve, at) => curve.slice(at, at + 5).reduce((a, b) => a + b, 0) / 5;
        const points = [];
        for (let at = 0; at + 5 <= own.curve.length; at += 5)
          points.push([10 * at + 50, 100 * (mean(one.curve, at) / mean(own.curve, at) - 1)]);
        return [{ recipe, colour: COLOURS[i % COLOURS.length], points }];
      }),
);
const all = lines.flatMap(({ points }) => points.map(([, y]) => y));
const most = Math.ceil(Math.max(...all.map(Math.abs)));
const x = (step) => LEFT + (step / steps) * (WIDTH - LEFT - RIGHT);
const y = (percent) => TOP + ((most - percent) / (2 * most)) * (HEIGHT - TOP - BOTTOM);
const ticks = Array.from({ length: 2 * most + 1 }, (_, i) => i - most).filter(
  (tick) => tick % Math.ceil(most / 4) === 0,
);
const shown = [...new Map(lines.map((line) => [line.recipe, line.colour]))];
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="18" font-size="14">Training loss against float32 of the same seed, means of 50 steps</text>
${ticks
  .map(
    (tick) =>
      `<path d="M${LEFT} ${y(tick).toFixed(1)}H${WIDTH - RIGHT}" stroke="${tick === 0 ? "#555" : "#ddd"}"/><text x="${LEFT - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick > 0 ? "+" : ""}${tick} %</text>`,
  )
  .join("\n")}
${[0, 1, 2, 3, 4, 5].map((i) => `<text x="${x((i * steps) / 5)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${(i * steps) / 5}</text>`).join("\n")}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">steps</text>
${lines
  .map(
    ({ colour, points }) =>
      `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map(([step, percent]) => `${x(step).toFixed(1)},${y(percent).toFixed(1)}`).join(" ")}"/>`,
  )
  .join("\n")}
${shown
  .map(
    ([recipe, colour], i) =>
      `<path d="M${WIDTH - RIGHT + 12} ${TOP + 8 + 20 * i}h18" stroke="${colour}" stroke-width="3"/><text x="${WIDTH - RIGHT + 36}" y="${TOP + 12 + 20 * i}">${recipe}</text>`,
  )
  .join("\n")}
</svg>
`;
writeFileSync(picture, svg);
