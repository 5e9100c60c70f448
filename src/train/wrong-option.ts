import { BlockscaleError } from "../tensor/errors.ts";

/** The error of a wrong option of `createTrainer`. */
export function wrongOption(name: string, expected: string, got: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: `createTrainer: ${name}`,
    expected,
    got: String(got),
    fix: "Leave it out to get the default.",
  });
}

/** The error of a wrong argument of a trainer's method, or of one that fits no such trainer. */
export function wrongArgument(where: string, expected: string, got: unknown, fix: string): BlockscaleError {
  return new BlockscaleError("option", { where: `trainer.${where}`, expected, got: String(got), fix });
}
