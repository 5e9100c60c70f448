import { expect, test } from "vitest";
import { dialects } from "../../src/checkpoint/dialects/index.ts";
import { suffixOf } from "../../src/web/state/destinations.ts";

test("the name of an output tells its format, and names no other model", () => {
  expect(suffixOf("deepseek-v3.1")).toBe("fp8");
  expect(suffixOf("deepseek-v4-fp4")).toBe("fp4");
  const others = Object.keys(dialects).filter((name) => !name.startsWith("deepseek"));
  expect(others.map((name) => suffixOf(name as keyof typeof dialects))).toEqual(others);
});
