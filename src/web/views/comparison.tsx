import type { JSX } from "preact";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import { type Precision, sqnr } from "../../engine/precision.ts";
import { FORMATS } from "../../tensor/formats.ts";
import { smallPercent, sqnrText, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";

/** Several schemes side by side on the same rows. */
export function Comparison({
  tried,
}: {
  readonly tried: readonly (readonly [DialectName, Sample])[];
}): JSX.Element {
  const { precision: text } = words.value;
  const figures = tried.map(([name, { precision }]) => ({ name, precision, db: sqnr(precision) }));
  const best = Math.max(...figures.map(({ db }) => db));
  // Whole steps of 5 dB around what is finite.
  const finite = figures.map(({ db }) => db).filter(Number.isFinite);
  const from = 5 * Math.floor((Math.min(...finite, Infinity) - 1) / 5);
  const to = 5 * Math.ceil((Math.max(...finite, -Infinity) + 1) / 5);
  const { rows, totalRows } = tried[0]![1];
  const isAll = rows === totalRows;
  return (
    <div class="comparison" data-testid="comparison">
      <div class="section-head">
        <h3 id="compare-heading">{text.compare}</h3>
        <p class="help">{isAll ? text.wholeTensor : text.compareNote(whole(rows), whole(totalRows))}</p>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section class="scroll" tabIndex={0} aria-labelledby="compare-heading">
        <table>
          <thead>
            <Heads from={from} to={to} />
          </thead>
          <tbody>
            {figures.map((one) => (
              <Row key={one.name} {...one} best={best} from={from} to={to} />
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

/** The ends of the axis of decibels. */
interface Ends {
  readonly from: number;
  readonly to: number;
}

function Heads({ from, to }: Ends): JSX.Element {
  const { precision: text } = words.value;
  return (
    <tr>
      <th scope="col">{text.scheme}</th>
      <th scope="col">
        {text.sqnr}
        {Number.isFinite(from) && (
          <span class="db-ends" title={text.axisDb}>
            <i>{from} dB</i>
            <i>{to} dB</i>
          </span>
        )}
      </th>
      <th scope="col" title={text.maxErrorHelp}>
        {text.maxError}
      </th>
      <th scope="col">{text.saturated}</th>
      <th scope="col">{text.flushed}</th>
      <th scope="col">{text.bits}</th>
    </tr>
  );
}

interface RowProps extends Ends {
  readonly name: DialectName;
  readonly precision: Precision;
  readonly db: number;
  /** The highest SQNR of all schemes. */
  readonly best: number;
}

function Row({ name, precision, db, best, from, to }: RowProps): JSX.Element {
  return (
    <tr class={isEqual(db, best) ? "best" : undefined}>
      <th scope="row" class="format">
        {name}
        <small>{blockOf(name)}</small>
      </th>
      <td class="bar-cell">
        <Dot db={db} from={from} to={to} />
        {sqnrText(db, precision.nonFinite)}
        <em>{wordOf(db, best)}</em>
      </td>
      <td>{smallPercent(precision.amax === 0 ? 0 : precision.maxError / precision.amax)}</td>
      <td>{whole(precision.saturated)}</td>
      <td>{whole(precision.flushed)}</td>
      <td>{bitsOf(name)}</td>
    </tr>
  );
}

/** Differences below this many decibels count as equal. */
const EQUAL = 0.2;

const isEqual = (db: number, best: number): boolean => db === best || Math.abs(db - best) < EQUAL;

function wordOf(db: number, best: number): string {
  const { exact, equal, grade, both, best: loses } = words.value.precision;
  if (db === Infinity) return exact;
  if (!Number.isFinite(db)) return "";
  const more = db === best ? loses : isEqual(db, best) ? equal : null;
  return more === null ? grade(db) : both(grade(db), more);
}

/** A dot on the axis from `from` to `to` decibels; nothing where the SQNR is not finite. */
function Dot({ db, from, to }: Ends & { readonly db: number }): JSX.Element {
  return (
    <span class={Number.isFinite(db) ? "db-axis" : ""} aria-hidden="true">
      {Number.isFinite(db) && <i style={{ left: `${(100 * (db - from)) / (to - from)}%` }} />}
    </span>
  );
}

function blockOf(name: DialectName): string {
  const { block, scale, rounding } = dialects[name].storage.scheme;
  const scales = { f32: "F32", e4m3: "E4M3", ue8m0: `UE8M0 ${rounding}` }[scale];
  return `${block.join("×")} ${scales}`;
}

function bitsOf(name: DialectName): string {
  const { scheme, scales } = dialects[name].storage;
  const scaleBits = scales.dtype === "F32" ? 32 : 8;
  return (FORMATS[scheme.format].codeBits + scaleBits / (scheme.block[0] * scheme.block[1])).toFixed(2);
}
