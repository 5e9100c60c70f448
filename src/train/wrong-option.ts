import { BlockscaleError } from "../tensor/errors.ts";

export function wrongOption(name: string, expected: string, got: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: `createTrainer: ${name}`,
    expected,
    got: String(got),
    fix: "Leave it out to get what is usual.",
  });
}
