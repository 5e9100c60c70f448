import type { DecoderConfig } from "../model/config.ts";
import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { wrongArgument } from "./wrong-option.ts";

/**
 * Checks the tokens of a batch.
 * @returns its shape, [batch, length + 1]
 * @throws BlockscaleError `shape`, `option`: another shape, more tokens than the context, or an
 * id outside the vocabulary
 */
export function checkBatch(
  ids: Int32Array,
  shape: readonly [number, number],
  { vocabulary, context }: DecoderConfig,
): readonly [number, number] {
  const where = "ids";
  const [batch, width] = Array.isArray(shape)
    ? (shape as readonly [number, number])
    : [Number.NaN, Number.NaN];
  const isShape = Number.isInteger(batch) && Number.isInteger(width) && batch > 0 && width > 1;
  if (!isShape || !(ids instanceof Int32Array) || ids.length !== batch * width) {
    throw new BlockscaleError("shape", {
      where: "trainer.ids",
      expected: "an Int32Array of the shape [batch, length + 1]",
      got: `${kindOf(ids)} of ${ids?.length} for ${Array.isArray(shape) ? `[${shape}]` : kindOf(shape)}`,
      fix: "Each row holds one token more than the model sees at once.",
    });
  }
  if (width - 1 > context)
    throw wrongArgument(
      where,
      `at most ${context} tokens a row, the model's context`,
      width - 1,
      "Cut the rows.",
    );
  const bad = ids.findIndex((id) => id < 0 || id >= vocabulary);
  if (bad < 0) return [batch, width];
  throw wrongArgument(
    `${where}: token ${bad}`,
    `a whole number from 0 to ${vocabulary - 1}`,
    ids[bad],
    "Use the tokenizer of this model.",
  );
}

/** @throws BlockscaleError `option` */
export function checkFlag(method: string, withOptimizer: boolean): void {
  if (typeof withOptimizer !== "boolean")
    throw wrongArgument(
      `${method}: withOptimizer`,
      "true or false",
      withOptimizer,
      "Pass true to go on later.",
    );
}
