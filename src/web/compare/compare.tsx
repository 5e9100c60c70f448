import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { ComparedTensor } from "../../checkpoint/measure/compare.ts";
import { jsonOf } from "../../checkpoint/measure/summary.ts";
import { CardButtons } from "../card/card-buttons.tsx";
import { origin, setAddress } from "../state/address.ts";
import { downloadText } from "../state/saving.ts";
import { chosen, nameOfChosen } from "../state/signals.ts";
import { decibels, number, shapeOf, smallPercent, sqnrText, whole } from "../strings/format.ts";
import { joined, words as pageWords } from "../strings/index.ts";
import { OpenAnother } from "../views/open-another.tsx";
import { Openers, PageOpeners } from "../views/start.tsx";
import {
  compareWithExample,
  compareWithFiles,
  compareWithPlace,
  forgetOther,
  isComparing,
  other,
  problems,
  tensors,
} from "./state.ts";
import { words } from "./words.ts";

/** Two checkpoints, compared tensor by tensor. */
export function Compare(): JSX.Element {
  const text = words.value;
  const [a, b] = [chosen.value, other.value];
  useEffect(() => {
    const from = origin.value;
    setAddress("compare", from === null ? {} : { [from.kind]: from.name });
  }, [origin.value]);
  useEffect(() => problems.forget, []);
  return (
    <div class="view run compare">
      <header class="view-heading">
        <h1>{text.heading}</h1>
        <p class="lead">{text.lead}</p>
      </header>
      {a === null ? (
        <>
          <h2>{text.chooseFirst}</h2>
          <PageOpeners />
        </>
      ) : (
        <>
          <section class="model-line">
            <p class="help">{text.first}</p>
            <h2>{nameOfChosen(a)}</h2>
            <OpenAnother before={forgetOther} />
          </section>
          {b === null ? <Second /> : <Compared name={nameOfChosen(b)} />}
        </>
      )}
    </div>
  );
}

function Second(): JSX.Element {
  return (
    <>
      <h2>{words.value.chooseSecond}</h2>
      <Openers
        isOpening={false}
        onFiles={compareWithFiles}
        onPlace={compareWithPlace}
        onExample={compareWithExample}
      />
    </>
  );
}

/** SQNR in decibels: Infinity where nothing was lost; `null` where nothing was compared. */
const sqnrOf = ({ precision }: ComparedTensor): number | null =>
  precision === null ? null : (precision.sqnrDb ?? Infinity);

function Compared({ name }: { readonly name: string }): JSX.Element {
  const text = words.value;
  const all = tensors.value;
  return (
    <>
      <section class="model-line">
        <p class="help">{text.second}</p>
        <h2>{name}</h2>
        <button type="button" onClick={forgetOther}>
          {isComparing.value ? text.stop : text.change}
        </button>
      </section>
      <p class="help" role="status">
        {isComparing.value && text.comparing(whole(all.length))}
      </p>
      {!isComparing.value && <Verdict all={all} name={name} />}
      {all.length > 0 && <Table all={all} />}
    </>
  );
}

interface VerdictProps {
  readonly all: readonly ComparedTensor[];
  readonly name: string;
}

function Verdict({ all, name }: VerdictProps): JSX.Element {
  const text = words.value;
  const compared = all.map(sqnrOf).filter((db) => db !== null);
  const least = Math.min(...compared);
  const exact = compared.filter((db) => db === Infinity).length;
  const others = all.length - compared.length;
  const isApart = all.some(({ status }) => status !== "compared" && status !== "not compared");
  const verdict =
    compared.length === 0
      ? text.nothing
      : least === Infinity
        ? text.same(whole(compared.length))
        : text.verdict(whole(compared.length), whole(exact), decibels(least));
  const note = joined(isApart ? verdict : "", others > 0 ? text.others(whole(others)) : "");
  const a = nameOfChosen(chosen.value!);
  const lowest = compared.length === 0 ? "–" : sqnrText(least, 0);
  const finite = compared.filter(Number.isFinite);
  return (
    <section class="verdict" data-testid="verdict">
      <p class="big">{isApart ? text.apart : verdict}</p>
      {note !== "" && <p class="help">{note}</p>}
      <div class="row card-buttons">
        <button
          type="button"
          onClick={() =>
            downloadText(`${jsonOf({ a, b: name, tensors: all })}\n`, "comparison.json", "application/json")
          }
        >
          {text.save}
        </button>
        <CardButtons
          name="comparison"
          make={() => ({
            title: a,
            subtitle: name,
            figures: [
              { label: pageWords.value.table.heading, value: whole(compared.length) },
              { label: text.lossless, value: whole(exact) },
              { label: pageWords.value.done.worst, value: lowest },
            ],
            ...(finite.length > 1 && {
              below: { kind: "points", label: "SQNR (dB)", series: [{ name, values: finite }] },
            }),
          })}
        />
      </div>
    </section>
  );
}

/** Most rows of the table. The JSON holds all of them. */
const SHOWN = 500;

function Table({ all }: { readonly all: readonly ComparedTensor[] }): JSX.Element {
  const text = words.value;
  const { precision: columns } = pageWords.value;
  const rows = useMemo(() => {
    const sortKey = (tensor: ComparedTensor) => sqnrOf(tensor) ?? -Infinity;
    return [...all].sort((a, b) => sortKey(a) - sortKey(b)).slice(0, SHOWN);
  }, [all]);
  return (
    <>
      <p class="help">{text.order(whole(rows.length), whole(all.length))}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section class="scroll" tabIndex={0} aria-label={text.heading}>
        <table class="likely compared" data-testid="compared">
          <thead>
            <tr>
              <th scope="col">{text.tensor}</th>
              <th scope="col">{columns.shape}</th>
              <th scope="col">{columns.sqnr}</th>
              <th scope="col">{text.cosine}</th>
              <th scope="col">{text.largest}</th>
              <th scope="col">{text.worst}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((tensor) => (
              <ComparedRow key={tensor.name} tensor={tensor} />
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

function ComparedRow({ tensor }: { readonly tensor: ComparedTensor }): JSX.Element {
  const text = words.value;
  const { name, shape, status, precision, worstBlock } = tensor;
  const isEqual = precision !== null && precision.sqnrDb === null && precision.nonFinite === 0;
  return (
    <tr>
      <th scope="row">
        <code>{name}</code>
      </th>
      <td>{shapeOf(shape)}</td>
      {precision === null || isEqual ? (
        <td colSpan={4}>{isEqual ? text.equal : text.status[status]}</td>
      ) : (
        <>
          <td>{sqnrText(precision.sqnrDb, precision.nonFinite)}</td>
          <td>{number(precision.cosine)}</td>
          <td>{smallPercent(precision.maxErrorOfAmax)}</td>
          <td>{worstBlock !== null && text.at(whole(worstBlock.row), whole(worstBlock.col))}</td>
        </>
      )}
    </tr>
  );
}
