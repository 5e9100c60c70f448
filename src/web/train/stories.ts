import { wordAt } from "../../train/initial-values.ts";

/** Words to fill in at the same place of a story. */
const NAMES = ["Mia", "Tom", "Anna", "Ben", "Lily", "Max", "Zoe", "Sam"];
const ANIMALS = ["cat", "dog", "bird", "fox", "duck", "frog"];
const COLOURS = ["red", "blue", "green", "small", "old", "happy"];
const THINGS = ["ball", "boat", "kite", "book", "cake", "hat"];
const PLACES = ["in the garden", "by the river", "at the park", "near the tree", "on the hill"];
const ENDS = [
  "They played until it was dark.",
  "Then they went home together.",
  "It was a very good day.",
  "They laughed and sat down to rest.",
];

/**
 * Little stories made of few words, for models with few parameters: which of two sentences comes next, who is
 * meant by "it", and what was found before are things to learn. The same seed gives the same text.
 */
export function stories(seed: number, count: number): string {
  return Array.from({ length: count }, (_, n) => story(seed, n)).join("\n");
}

function story(seed: number, n: number): string {
  let drawn = 0;
  const one = (words: readonly string[]) => words[wordAt(seed, n, drawn++) % words.length]!;
  const name = one(NAMES);
  const friend = one(NAMES.filter((other) => other !== name));
  const animal = one(ANIMALS);
  const colour = one(COLOURS);
  const thing = one(THINGS);
  const place = one(PLACES);
  const middle = one([
    `The ${animal} wanted the ${thing}.`,
    `${friend} came and saw the ${thing} too.`,
    `${name} gave the ${thing} to ${friend}.`,
    `"What a nice ${thing}!" said ${friend}.`,
  ]);
  return `One day ${name} and a ${colour} ${animal} were ${place}. ${name} found a ${thing}. ${middle} ${one(ENDS)}`;
}

/** Sums of two numbers below 50, one a line: what a model has learned shows at once. */
export function sums(seed: number, count: number): string {
  const line = (n: number) => {
    const [a, b] = [wordAt(seed, n, 0) % 50, wordAt(seed, n, 1) % 50];
    return `${a} + ${b} = ${a + b}`;
  };
  return Array.from({ length: count }, (_, n) => line(n)).join("\n");
}
