import { narrow } from "./js/half.ts";
import { bitsOf } from "./js/scale.ts";
import type { Left } from "./operands.ts";
import type { Place, Survey } from "./pack.ts";
import type { BlockScaled, Format } from "./tensor.ts";
import type { Arena } from "./wasm/arena.ts";
import { FORMAT_ID, type Kernels, SCALE_TYPE_ID, VALUE_TYPE_ID } from "./wasm/exports.ts";

interface Facts {
  readonly format: Format;
  /** `[..., N, K]` */
  readonly shape: readonly number[];
  readonly block: readonly [number, number];
  readonly slices: number;
  readonly rows: number;
  readonly cols: number;
  readonly scaleType: "ue8m0" | "f32";
}

/** The right operand: in the engine's memory, or to be taken there a chunk at a time. */
export type Right =
  | (Facts & Place & { readonly kind: "packed" })
  | (Facts & Pick<BlockScaled, "codes" | "scales"> & { readonly kind: "record" });

/** Rows of x that follow one another and meet the same slice of w. */
export interface Run {
  readonly start: number;
  readonly end: number;
  readonly slice: number;
}

/** Codes that pass through memory at a time: few, to meet them in a cache again; more if many rows of x wait for them. */
const CHUNK = 2 ** 20;
const LARGE_CHUNK = 2 ** 24;

/** Rows of x that one pass over the weights serves; the kernels' own number is near. */
const PASS = 192;

/** Elements of x and the result that are in memory at a time. */
const ELEMENTS = 2 ** 23;

/** At most one code in so many is set aside, for each row by itself. */
const LISTED = 64;

/** Up to 15 bytes behind the codes are read. */
export const MARGIN = 16;

type SurveyArguments =
  Parameters<Kernels["survey"]> extends [infer A, infer B, number, number, ...infer Rest]
    ? [A, B, ...Rest]
    : never;

/** Bytes that `survey` needs for its record and the beginning of its list, and a list of `entries` for the whole. */
export const recordBytes = (rows: number): number => 12 + rows;
export const listBytes = (rows: number, entries: number): number => 4 * (rows + 1 + entries);

/** Runs the kernel `survey` and reads its record. */
export function surveyOf(
  kernels: Kernels,
  arena: Arena,
  [record, list]: readonly [record: number, list: number],
  rows: number,
  [format, scaleType, ...rest]: SurveyArguments,
): Survey {
  const count = kernels.survey(format, scaleType, record, list, ...rest);
  const [lowestScale = 0, highestScale = 0, needsList] = new Int32Array(arena.buffer, record, 3);
  const found = { lowestScale, highestScale, farRows: [], list: needsList ? list : 0 };
  if (count === 0) return found;
  const flags = [...new Uint8Array(arena.buffer, record + 12, rows)];
  return { ...found, farRows: flags.flatMap((flag, row) => (flag ? [row] : [])) };
}

/** out[run.start .. run.end, N] <- the same rows of x . w[run.slice]^T */
export function multiply(
  kernels: Kernels,
  arena: Arena,
  left: Left,
  right: Right,
  out: Float32Array | Uint16Array,
  type: "f32" | "bf16",
  run: Run,
): void {
  const { rows: n, cols: k, block } = right;
  const m = run.end - run.start;
  if (m === 0 || n === 0) return;
  const limit = m <= PASS ? CHUNK : LARGE_CHUNK;
  const chunkRows =
    right.kind === "packed" ? n : Math.min(n, Math.max(8, Math.floor(limit / Math.max(1, k)) & ~7));
  const mostRows = Math.max(PASS, Math.floor(ELEMENTS / (k + chunkRows)));
  // Passes of about the same height: which kernel does a row depends on m, not on what is left for the last pass.
  const passRows = Math.ceil(m / Math.ceil(m / mostRows));
  const gridCols = Math.ceil(k / block[1]);
  const gridRows = Math.ceil(n / block[0]);
  const scaleBytes = right.scaleType === "ue8m0" ? 1 : 4;
  for (let first = 0; first < n; first += chunkRows) {
    const rows = Math.min(chunkRows, n - first);
    const topScale = Math.floor(first / block[0]);
    const scaleRows = Math.ceil((first + rows) / block[0]) - topScale;
    const streams = right.kind === "record";
    const [xAt, farAt, dst, work, record, list, codesAt, scalesAt] = arena.frame([
      4 * passRows * k,
      8 * k,
      out.BYTES_PER_ELEMENT * passRows * rows,
      kernels.gemmWorkspace(passRows, k) >>> 0,
      streams ? recordBytes(rows) : 0,
      streams ? listBytes(rows, (rows * k) / LISTED) : 0,
      streams ? rows * k + MARGIN : 0,
      streams ? scaleRows * gridCols * scaleBytes : 0,
    ]) as [number, number, number, number, number, number, number, number];
    let codes = codesAt;
    let scales = scalesAt;
    const firstRow = first % block[0];
    if (right.kind === "packed") {
      codes = right.codes + run.slice * n * k;
      scales = right.scales + run.slice * gridRows * gridCols * scaleBytes;
    } else {
      const at = (run.slice * n + first) * k;
      new Uint8Array(arena.buffer, codes, rows * k).set(right.codes.subarray(at, at + rows * k));
      const from = (run.slice * gridRows + topScale) * gridCols;
      const staged = right.scales.subarray(from, from + scaleRows * gridCols);
      new Uint8Array(arena.buffer, scales, staged.byteLength).set(
        new Uint8Array(staged.buffer, staged.byteOffset, staged.byteLength),
      );
    }
    const ids = [FORMAT_ID[right.format], SCALE_TYPE_ID[right.scaleType]] as const;
    const weights = [codes, scales, firstRow, rows, k, block[0], block[1]] as const;
    const survey =
      right.kind === "packed"
        ? (right.survey[run.slice] as Survey)
        : surveyOf(kernels, arena, [record, list], rows, [...ids, ...weights]);
    if (streams && survey.list !== 0) kernels.setAside(ids[0], survey.list, codes, rows, k);
    for (let row = run.start; row < run.end; row += passRows) {
      const height = Math.min(passRows, run.end - row);
      new Float32Array(arena.buffer, xAt, height * k).set(left.values.subarray(row * k, (row + height) * k));
      kernels.gemm(
        ids[0],
        VALUE_TYPE_ID[type],
        ids[1],
        dst,
        xAt,
        height,
        ...weights,
        survey.list,
        survey.lowestScale,
        survey.highestScale,
        work,
      );
      const result =
        type === "f32"
          ? new Float32Array(arena.buffer, dst, height * rows)
          : new Uint16Array(arena.buffer, dst, height * rows);
      for (let r = 0; r < height && rows < n; r++) {
        out.set(result.subarray(r * rows, (r + 1) * rows), (row + r) * n + first);
      }
      if (rows === n) out.set(result, row * n);
    }
    const dotFar = (row: number): number => kernels.dotFar(...ids, farAt, row, ...weights, survey.list);
    correctFar(left, run, survey, new Float64Array(arena.buffer, farAt, k), rows, (m, row) => {
      out[m * n + first + row] =
        type === "f32" ? dotFar(row) : narrow(VALUE_TYPE_ID.bf16, bitsOf(dotFar(row)));
    });
  }
}

/** Calls `compute` for each result that the kernel `gemm` does not do, with that row of x staged as float64. */
function correctFar(
  left: Left,
  run: Run,
  { farRows }: Survey,
  staged: Float64Array,
  rows: number,
  compute: (m: number, row: number) => void,
): void {
  if (farRows.length === 0 && left.farRows.size === 0) return;
  const { cols } = left;
  for (let m = run.start; m < run.end; m++) {
    const exact = left.farRows.get(m);
    staged.set(exact ?? left.values.subarray(m * cols, (m + 1) * cols));
    if (exact === undefined) for (const row of farRows) compute(m, row);
    else for (let row = 0; row < rows; row++) compute(m, row);
  }
}
