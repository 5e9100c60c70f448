import type { Words } from "./en.ts";
import { checkpoint } from "./zh/checkpoint.ts";
import { conversion } from "./zh/conversion.ts";
import { patternsOfLibrary } from "./zh/library-patterns.ts";
import { plansOfLibrary } from "./zh/library-plans.ts";
import { problemsOfLibrary } from "./zh/library-problems.ts";
import { page } from "./zh/page.ts";
import { problem } from "./zh/problem.ts";
import { tensor } from "./zh/tensor.ts";

export const zh: Words = {
  ...page,
  ...checkpoint,
  ...conversion,
  ...tensor,
  problem,
  patternsOfLibrary,
  textsOfLibrary: { ...problemsOfLibrary, ...plansOfLibrary },
};
