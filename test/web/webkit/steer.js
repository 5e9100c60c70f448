// In the page, beside its own script: does what the test asks for, one step after the other, and reports.
// WebKit started by a driver has a private window's storage, that is none: this is how a normal window is driven.
const errors = [];
addEventListener("error", ({ message }) => errors.push(message));
addEventListener("unhandledrejection", ({ reason }) => errors.push(String(reason)));

for (let turn = 0; ; turn++) {
  const report = {};
  try {
    const { id, step } = await import(`./next.js?${turn}`);
    report.id = id;
    report.value = await step();
  } catch (error) {
    report.error = `${error}\n${error.stack}`;
  }
  await fetch("steer/report", { method: "POST", body: JSON.stringify({ ...report, errors }) });
}
