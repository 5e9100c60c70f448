import config from "./vitest.config.ts";

/** The tests that take many seconds each, with faults, kills and whole models: kept out of `npm test`. */
export default { test: { ...config.test, include: ["**/*.long.ts"] } };
