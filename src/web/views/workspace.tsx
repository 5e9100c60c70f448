import type { JSX } from "preact";
import { countOf } from "../../checkpoint/read/weights.ts";
import { measured, name, opened, stage } from "../state/signals.ts";
import { bytes, percent, short, whole } from "../strings/format.ts";
import { translated, words } from "../strings/index.ts";
import { RunCard } from "./conversion-card.tsx";
import { ConvertCard } from "./convert-card.tsx";
import { useFocus } from "./focus.ts";
import { lazy } from "./lazy.tsx";
import { OpenAnother } from "./open-another.tsx";
import { ResultCard } from "./result-card.tsx";
import { Tensors } from "./tensors.tsx";
import { Warnings } from "./warnings.tsx";

const SqnrSection = lazy(async () => (await import("./sqnr-section.tsx")).SqnrSection);

/** A checkpoint that is open: what is inside, and what to make of it. */
export function Workspace(): JSX.Element {
  return (
    <>
      <Heading />
      <div class="workspace">
        <aside>
          {stage.value === "running" ? (
            <RunCard />
          ) : stage.value === "done" ? (
            <ResultCard />
          ) : (
            <ConvertCard />
          )}
        </aside>
        <div class="inside">
          <Tensors />
          {/* Below, so that the table stays in its place when the first figures come. */}
          {measured.value.size > 0 && <SqnrSection />}
        </div>
      </div>
    </>
  );
}

function Heading(): JSX.Element {
  const { open } = words.value;
  const heading = useFocus<HTMLHeadingElement>();
  const { inspection, missingScaleIsOne, shardNumber } = opened.value!;
  const { files, tensors, dialect } = inspection;
  const size = files.reduce((n, file) => n + file.bytes, 0);
  const parameters = tensors.reduce((n, { shape }) => n + countOf(shape), 0);
  const dtypes = Object.keys(inspection.bytesByDtype);
  const facts = [
    bytes(size),
    open.files(files.length),
    open.tensors(whole(tensors.length), tensors.length === 1),
    open.parameters(short(parameters)),
    ...(dtypes.length === 1 ? dtypes : []),
    dialect === "none"
      ? open.notQuantised
      : dialect.endsWith(" (not read)")
        ? translated(dialect)
        : open.dialect(translated(dialect)),
  ];
  return (
    <section class="heading">
      <div class="heading-row">
        <h1 title={name.value} tabIndex={-1} ref={heading}>
          {name.value}
        </h1>
        <OpenAnother />
      </div>
      <ul class="facts">
        {facts.map((fact) => (
          <li key={fact}>{fact}</li>
        ))}
      </ul>
      {dtypes.length > 1 && <Composition byDtype={inspection.bytesByDtype} />}
      <Metadata entries={Object.entries(inspection.metadata)} />
      {shardNumber !== null && (
        <div class="note" role="status">
          <p>{open.shardNumber(shardNumber.index, shardNumber.of)}</p>
        </div>
      )}
      {missingScaleIsOne && (
        <div class="note" role="status">
          <p>{open.missingScaleIsOne}</p>
        </div>
      )}
      <Warnings of={inspection.warnings} />
    </section>
  );
}

interface MetadataProps {
  readonly entries: readonly (readonly [key: string, value: string])[];
}

/** What headers say of the checkpoint beside its tensors. */
function Metadata({ entries }: MetadataProps): JSX.Element | null {
  if (entries.length === 0) return null;
  return (
    <details class="remarks" data-testid="metadata">
      <summary>
        {words.value.open.metadata} ({entries.length})
      </summary>
      <dl class="message parts">
        {entries.map(([key, value]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

/** Shares of the data types, the largest first. */
function Composition({ byDtype }: { readonly byDtype: { readonly [dtype: string]: number } }): JSX.Element {
  const parts = Object.entries(byDtype)
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1]);
  const total = parts.reduce((n, [, size]) => n + size, 0);
  return (
    <figure class="composition" aria-label={words.value.open.composition}>
      <div class="bar" aria-hidden="true">
        {parts.map(([dtype, size]) => (
          <span key={dtype} style={{ flexGrow: String(size / total) }} />
        ))}
      </div>
      <figcaption>
        {parts.map(([dtype, size]) => (
          <span key={dtype}>
            <i aria-hidden="true" />
            {dtype} <b>{bytes(size)}</b> {percent(size / total)}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}
