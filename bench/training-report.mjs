// The tables and the picture of docs/training.md, of what bench/training.mjs and bench/training-gradients.mjs have measured:
// node bench/training-report.mjs [results.json] [picture.svg] [gradients.json]
import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";

const here = (path) => new URL(path, import.meta.url).pathname;
const [
  results = here("results/training.json"),
  picture = here("../docs/training.svg"),
  gradients = here("results/training-gradients.json"),
] = process.argv.slice(2);
const { runs, steps } = JSON.parse(readFileSync(results, "utf8"));
const recipes = [...new Set(runs.map(({ recipe }) => recipe))];
const seeds = [...new Set(runs.map(({ seed }) => seed))].sort();
const find = (recipe, seed) => runs.find((one) => one.recipe === recipe && one.seed === seed);
const bits = (nats) => (nats / Math.LN2).toFixed(4);
/** A share as percent, with its sign; what rounds to zero is +0.00. */
function signed(share) {
  const percent = Number((100 * share).toFixed(2)) + 0;
  return `${percent >= 0 ? "+" : "-"}${Math.abs(percent).toFixed(2)} %`;
}

/** Held-out loss of a run against float32 of the same seed. */
function difference(recipe, seed) {
  const [one, base] = [find(recipe, seed), find("f32", seed)];
  return one && base && one.validation / base.validation - 1;
}

const meanOf = (values) => values.reduce((a, b) => a + b, 0) / values.length;
/** Mean and standard deviation, if there are several. */
function summary(values) {
  const mean = meanOf(values);
  if (values.length < 2) return signed(mean);
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return `${signed(mean)} ± ${(100 * Math.sqrt(variance)).toFixed(2)}`;
}

const rows = recipes.map((recipe) => {
  const known = seeds.map((seed) => difference(recipe, seed)).filter((value) => value !== undefined);
  return [
    `\`${recipe}\``,
    seeds.map((seed) => (find(recipe, seed) ? bits(find(recipe, seed).validation) : "–")).join(", "),
    recipe === "f32" ? "" : known.map(signed).join(", "),
    recipe === "f32" ? "" : summary(known),
  ];
});
const heads = [
  "recipe",
  "held-out bits a byte, by seed",
  "against float32 of the same seed",
  "mean, deviation",
];
console.log(markdownTable([heads, ...rows], { align: ["l", "l", "l", "r"] }));

/** How far two runs come apart that differ by chance alone: root mean square, and the largest. */
function yardstick(name, distances) {
  const root = Math.sqrt(meanOf(distances.map((distance) => distance ** 2)));
  const largest = Math.max(...distances.map(Math.abs));
  console.log(
    `${name}: ${(100 * root).toFixed(2)} % on average (rms), ${(100 * largest).toFixed(2)} % at most, of ${distances.length}`,
  );
}

const base = seeds.map((seed) => find("f32", seed)?.validation).filter((value) => value !== undefined);
const pairs = base.flatMap((one, i) => base.slice(i + 1).map((other) => one / other - 1));
console.log();
if (pairs.length > 0) yardstick("two float32 runs of other seeds", pairs);
const nudges = seeds.map((seed) => difference("f32-nudged", seed)).filter((value) => value !== undefined);
if (nudges.length > 0) yardstick("two float32 runs that differ in a bit", nudges);

const { results: found, tensors } = JSON.parse(readFileSync(gradients, "utf8"));
/** A figure of a recipe after each number of steps. */
const each = (recipe, show) => found.map(({ rows }) => show(rows[recipe])).join(", ");
const worse = (recipe, part) => {
  const counts = found.map(({ rows }) => rows[recipe][part].worse);
  if (counts[0] === undefined) return "";
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return ` (${least === most ? least : `${least} to ${most}`})`;
};
const percent = (share) => (100 * share).toFixed(share === 0 ? 0 : 1);
console.log(
  `\nGradients after ${found.map(({ steps }) => steps).join(", ")} steps in float32: dB from float32's (worse than the rule that it is a control of in so many of ${tensors} tensors); dy in %\n`,
);
console.log(
  markdownTable(
    [
      [
        "recipe",
        "all products rounded",
        "input gradients alone",
        "weight gradients alone",
        "dy that became 0",
        "dy that was cut",
      ],
      ...Object.keys(found[0].rows).map((recipe) => [
        `\`${recipe}\``,
        ...["whole", "inputGradient", "weightGradient"].map(
          (part) => each(recipe, (row) => row[part].decibels.toFixed(1)) + worse(recipe, part),
        ),
        each(recipe, ({ zeros }) => percent(zeros)),
        each(recipe, ({ cuts }) => percent(cuts)),
      ]),
    ],
    { align: ["l", "r", "r", "r", "r", "r"] },
  ),
);
console.log(`\nanother batch: ${found.map((one) => `${one.betweenBatches.toFixed(1)} dB`).join(", ")}`);
console.log("\nAlong float32's gradient, input gradients alone and weight gradients alone:");
for (const recipe of Object.keys(found[0].rows))
  console.log(
    `${recipe.padEnd(18)} ${each(recipe, (row) => signed(row.inputGradient.along))}; ${each(recipe, (row) => signed(row.weightGradient.along))}`,
  );

/** Differences of training losses, means of fifty steps, against float32 of the same seed: a line for each run. */
const COLOURS =
  "#888 #111 #1668c4 #1a9850 #d73027 #e08214 #7b3294 #c51b7d #00a3a3 #8c6d31 #6b6ecf #5b3a29".split(" ");
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
