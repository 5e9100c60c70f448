/** Shortest sample: long enough for the clock's grain and a stray interrupt to be small. */
const SAMPLE_SECONDS = 0.006;
const WARM_SECONDS = 0.25;

/**
 * Seconds of one core's work in `calls` calls. The smaller of wall time and the process's CPU time: the first grows when
 * somebody else has the core, the second when V8 compiles or collects beside us, and the work itself is in both.
 */
function sample(run, calls) {
  // One call that does not count brings the data into the caches it fits in, where the others left theirs.
  if (calls > 1) run();
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < calls; i++) run();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return Math.min(wall, (user + system) / 1e6 || wall);
}

/** Runs until V8 has had every chance to compile the best code; how many calls make a sample. */
function warm(run, seconds) {
  const start = performance.now();
  let calls = 0;
  do {
    run();
    calls++;
  } while (performance.now() - start < 1000 * seconds);
  const one = sample(run, Math.max(1, calls >> 3)) / Math.max(1, calls >> 3);
  return Math.max(1, Math.ceil(SAMPLE_SECONDS / one));
}

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** The median over the rounds of a / b: a slow spell of the machine meets both. */
export const medianRatio = (a, b) => median(a.map((seconds, round) => seconds / b[round]));

/**
 * Times functions side by side: in every round each runs once, in an order that turns, so that a slow spell of
 * the machine meets all of them. Returns for each name the seconds of each round.
 */
export function interleave(contestants, rounds, warmSeconds = WARM_SECONDS) {
  const names = Object.keys(contestants);
  const calls = Object.fromEntries(names.map((name) => [name, warm(contestants[name], warmSeconds)]));
  const seconds = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      seconds[name].push(sample(contestants[name], calls[name]) / calls[name]);
    }
  }
  return seconds;
}

/** Seconds a call, as `sample`, of functions that may return promises. */
async function sampleAwaited(run, calls) {
  if (calls > 1) await run();
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < calls; i++) await run();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return Math.min(wall, (user + system) / 1e6 || wall) / calls;
}

/** As `interleave`, for functions that may return promises: some peers have no others. */
export async function interleaveAwaited(contestants, rounds, sampleSeconds) {
  const names = Object.keys(contestants);
  const calls = {};
  for (const name of names) {
    const start = performance.now();
    let warm = 0;
    while (performance.now() - start < 1000 * WARM_SECONDS || warm < 2) {
      await contestants[name]();
      warm++;
    }
    calls[name] = Math.max(1, Math.round((warm * sampleSeconds) / WARM_SECONDS));
  }
  const seconds = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      seconds[name].push(await sampleAwaited(contestants[name], calls[name]));
    }
  }
  return seconds;
}
