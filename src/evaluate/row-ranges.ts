import { type Located, memoryOf } from "../model/locate.ts";
import type { WeightForm } from "../model/store.ts";
import { type Range, rowsOf, type Team } from "../model/team.ts";

/**
 * The rows of a range are a multiple of this: of blocks of 128 rows, and of the 12 rows that int7 packs
 * together.
 */
const ROWS = 384;
/** Bytes of a range, all matrices together. A constant, since the last digits of sums depend on it. */
const BYTES = 2 ** 23;

/**
 * Cuts matrices with the same number of rows into the same ranges of rows. One range of each is in memory at
 * a time.
 */
export function rangesToLoad(matrices: readonly Located[], form: WeightForm): Range[] {
  const rows = matrices[0]!.tensor.shape[0]!;
  const bytes = matrices.reduce((sum, one) => sum + memoryOf(one, form), 0);
  const height = ROWS * Math.max(1, Math.floor((BYTES * rows) / bytes / ROWS));
  return Array.from({ length: Math.ceil(rows / height) }, (_, i) => ({
    start: i * height,
    end: Math.min(rows, (i + 1) * height),
  }));
}

/** Some rows of a matrix, of which each member keeps its share. */
export function someRows({ tensor, weight }: Located, { start, end }: Range): Located {
  const rows = (team: Team): Range => {
    const own = rowsOf(end - start, team);
    return { start: start + own.start, end: start + own.end };
  };
  return { weight, tensor: { ...tensor, rows } };
}
