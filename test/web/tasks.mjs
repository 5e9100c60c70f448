// Processor time of the page's main thread in Chromium, task by task: wall time would count everything else
// that the machine does meanwhile. A reference of fixed size tells how fast the machine is.

/**
 * Records what the main thread does while `body` runs. @returns its tasks, each with its start and its processor
 * time, and the start of each mark that the page set, by name: all in milliseconds of one clock
 */
export async function record(page, body) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: {
      includedCategories: ["disabled-by-default-devtools.timeline", "toplevel", "blink.user_timing"],
    },
  });
  await body();
  const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  const names = events.filter(({ name }) => name === "thread_name");
  const isMain = new Set(
    names.filter(({ args }) => args.name === "CrRendererMain").map(({ pid, tid }) => `${pid}/${tid}`),
  );
  const tasks = events
    .filter(({ name, pid, tid }) => /RunTask$/.test(name) && isMain.has(`${pid}/${tid}`))
    .map(({ ts, tdur = 0 }) => ({ start: ts / 1000, time: tdur / 1000 }));
  const marks = events.filter(({ cat }) => cat === "blink.user_timing");
  return { tasks, marks: new Map(marks.map(({ name, ts }) => [name, ts / 1000])) };
}

/** Milliseconds of processor time of each task while `body` runs. */
export async function tasksDuring(page, body) {
  return (await record(page, body)).tasks.map(({ time }) => time);
}

/** Work of a fixed size in one task: half a million names made and sorted. */
function sortNames() {
  const names = Array.from({ length: 500_000 }, (_, i) => `model.layers.${(i * 7919) % 500_000}`);
  return names.sort()[0];
}

/** Milliseconds of processor time of the reference, now. */
export async function referenceTime(page) {
  return Math.max(...(await tasksDuring(page, () => page.evaluate(sortNames))));
}
