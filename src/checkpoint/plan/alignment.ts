import { byteLength } from "../../safetensors/dtype.ts";
import type { TensorSpec } from "../../safetensors/header.ts";

/** Tensors that one step writes one after the other. */
export interface TensorGroup {
  readonly tensors: readonly TensorSpec[];
}

/** The largest power of two, up to 8, that divides a number of bytes. */
function alignmentOf(bytes: number): number {
  return bytes % 8 === 0 ? 8 : bytes % 4 === 0 ? 4 : bytes % 2 === 0 ? 2 : 1;
}

/**
 * Orders groups so that every tensor starts at a multiple of its element size, and keeps the given order
 * otherwise: groups whose bytes are a multiple of 8 come first, odd ones last. What stands before a group is
 * then always a multiple of the group's own granularity, which its element size divides.
 */
export function sortByAlignment<G extends TensorGroup>(groups: readonly G[]): G[] {
  const key = new Map<G, number>();
  for (const group of groups) {
    key.set(
      group,
      alignmentOf(group.tensors.reduce((n, { dtype, shape }) => n + byteLength(dtype, shape)!, 0)),
    );
  }
  return [...groups].sort((a, b) => key.get(b)! - key.get(a)!);
}
