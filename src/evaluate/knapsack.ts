/** One way to store a group of weights. */
export interface Choice {
  /** Whole bits, scales included. */
  readonly bits: number;
  /** Loss of quality by this choice; losses of groups add up. */
  readonly score: number;
}

interface Total extends Choice {
  readonly taken: number;
  readonly before: Total | null;
}

/**
 * Takes one choice of each group so that the scores sum to the least within a budget of bits: the
 * multiple-choice knapsack, solved exactly. After each group, only totals are kept that no
 * other total beats in both bits and score. The best total of all groups is among them, since a
 * beaten total stays beaten whatever is added.
 * @returns the index of the choice of each group, or `null` if even the fewest bits are too many
 */
export function chooseWithin(groups: readonly (readonly Choice[])[], budget: number): number[] | null {
  // The fewest bits that the groups from here on take: a total that cannot end within the budget is dropped
  // at once.
  const least = groups.map((choices) => Math.min(...choices.map(({ bits }) => bits)));
  let rest = least.reduce((sum, bits) => sum + bits, 0);
  let front: Total[] = [{ bits: 0, score: 0, taken: -1, before: null }];
  for (const [i, choices] of groups.entries()) {
    rest -= least[i]!;
    const next: Total[] = [];
    for (const before of front) {
      for (const [taken, { bits, score }] of choices.entries()) {
        const total = before.bits + bits;
        if (total + rest <= budget) next.push({ bits: total, score: before.score + score, taken, before });
      }
    }
    front = unbeaten(next);
  }
  const best = front.at(-1);
  if (best === undefined) return null;
  const taken: number[] = [];
  for (let at: Total | null = best; at !== null && at.taken >= 0; at = at.before) taken.push(at.taken);
  return taken.reverse();
}

/** The totals that no other one beats: of two, the one with more bits has a lower score. */
function unbeaten(totals: Total[]): Total[] {
  totals.sort((a, b) => a.bits - b.bits || a.score - b.score);
  let lowest = Infinity;
  return totals.filter(({ score }) => {
    if (score >= lowest) return false;
    lowest = score;
    return true;
  });
}
