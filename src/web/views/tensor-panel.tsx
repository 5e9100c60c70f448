import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import type { InspectedTensor } from "../../checkpoint/measure/inspect.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { client, problemIn } from "../state/client.ts";
import { download } from "../state/saving.ts";
import { form, opened, planned, problem, selected } from "../state/signals.ts";
import { bytes, number, shapeOf } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import type { Problem } from "../workers/problem.ts";
import type { TensorBasics } from "../workers/protocol.ts";
import { Comparison } from "./comparison.tsx";
import { ErrorChart, ValueChart } from "./distributions.tsx";
import { HeatMap } from "./heat-map.tsx";
import { Icon } from "./icons.tsx";
import { ProblemText } from "./problem.tsx";
import { shownRows } from "./rows.ts";
import { Warnings } from "./warnings.tsx";

/** Whether the newest entry of the history is the panel's. */
let hasEntry = false;

/** The panel about one tensor, beside the table, which stays usable. */
export function TensorPanel(): JSX.Element | null {
  const heading = useRef<HTMLHeadingElement>(null);
  const name = selected.value;
  const tensor = opened.value?.inspection.tensors.find((one) => one.name === name);
  useEffect(() => heading.current?.focus(), [tensor]);
  useBackToClose();
  useEscapeToClose();
  if (tensor === undefined) return null;
  return (
    <aside class="side" aria-labelledby="tensor-heading" data-testid="tensor">
      <header>
        <Tools name={tensor.name} />
        <h2 id="tensor-heading" ref={heading} tabIndex={-1}>
          {tensor.name}
        </h2>
      </header>
      <Facts tensor={tensor} />
      <Warnings of={warningsAbout(tensor.name)} />
      <Basics key={`basics ${tensor.name}`} tensor={tensor} />
      <TensorCharts key={tensor.name} tensor={tensor} />
    </aside>
  );
}

function close(): void {
  selected.value = null;
  document.querySelector<HTMLElement>("[data-testid=rows]")?.focus();
}

/**
 * Back closes the panel. The entry stays when the panel is closed by its button: `history.back` would end
 * only after the next opening.
 */
function useBackToClose(): void {
  useEffect(() => {
    if (!hasEntry) history.pushState(null, "");
    hasEntry = true;
    const onBack = () => {
      hasEntry = false;
      selected.value = null;
    };
    addEventListener("popstate", onBack);
    return () => removeEventListener("popstate", onBack);
  }, []);
}

/** Escape closes the panel from anywhere, except in a dialog. */
function useEscapeToClose(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && document.querySelector("dialog[open]") === null) close();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** Buttons for the tensors before and after this one in the table, and to close the panel. */
function Tools({ name }: { readonly name: string }): JSX.Element {
  const { precision: text } = words.value;
  const at = shownRows.value.findIndex((row) => row.tensor.name === name);
  const step = (by: number) => {
    const next = shownRows.value[at + by];
    if (next !== undefined) selected.value = next.tensor.name;
  };
  return (
    <div class="side-tools">
      <button type="button" class="quiet" disabled={at <= 0} onClick={() => step(-1)}>
        ← {text.previous}
      </button>
      <button
        type="button"
        class="quiet"
        disabled={at < 0 || at + 1 >= shownRows.value.length}
        onClick={() => step(1)}
      >
        {text.next} →
      </button>
      <button type="button" class="quiet square" aria-label={text.close} onClick={close}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** What is odd in a tensor, or in its scales. */
function warningsAbout(name: string): string[] {
  const { warnings } = opened.value!.inspection;
  return warnings.filter((warning) => warning.includes(quotedTensor(name)));
}

/** What the values are: smallest, largest, mean, deviation, the first ones; and the tensor as a file. */
function Basics({ tensor }: { readonly tensor: InspectedTensor }): JSX.Element | null {
  const { precision: text } = words.value;
  const [found, setFound] = useState<TensorBasics | null>(null);
  useEffect(() => {
    let isCurrent = true;
    client.call("basics", tensor.name).then(
      (value) => isCurrent && setFound(value),
      () => {},
    );
    return () => {
      isCurrent = false;
    };
  }, [tensor.name]);
  const save = () =>
    client.call("npy", tensor.name).then(
      (blob) => blob !== null && download(blob, `${tensor.name}.npy`),
      (error) => {
        problem.value = problemIn(error);
      },
    );
  if (found === null) return null;
  const { moments } = found;
  const figures: [string, string][] =
    moments === null
      ? []
      : [
          [text.least, number(moments.least)],
          [text.most, number(moments.most)],
          [text.mean, number(moments.mean)],
          [text.deviation, number(moments.deviation)],
        ];
  return (
    <section aria-label={text.basics} data-testid="basics">
      <dl class="facts-grid">
        {figures.map(([term, value]) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {found.first.length > 0 && (
        <p class="help first-values">
          {text.first + words.value.colon}
          <code>{found.first.join(", ")}</code>
        </p>
      )}
      {moments !== null && !moments.isAll && <p class="help">{text.ofSample}</p>}
      {found.hasNpy && (
        <button type="button" class="npy" onClick={save}>
          <Icon name="down" />
          .npy
        </button>
      )}
    </section>
  );
}

function Facts({ tensor }: { readonly tensor: InspectedTensor }): JSX.Element {
  const { precision: text } = words.value;
  const { scaled } = tensor;
  const facts: [string, string][] = [
    [text.shape, shapeOf(tensor.shape)],
    [text.type, tensor.dtype],
    [text.size, bytes(tensor.bytes)],
    [text.file, tensor.shard],
  ];
  if (scaled !== null) facts.push([text.scales, `${scaled.block.join("×")}, ${scaled.scaleDtype ?? "–"}`]);
  return (
    <dl class="facts-grid">
      {facts.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd title={value}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/**
 * The dialect whose scheme a tensor gets. In a mix, it is the dialect that stores all weights in the tensor's
 * format.
 */
function dialectOf(tensor: string): DialectName {
  const { to } = form.value;
  const format = planned.value?.tensors.find(({ name }) => name === tensor)?.format;
  const scheme = dialects[to].formats?.[format ?? ""]?.scheme;
  if (scheme === undefined) return to;
  const names = Object.keys(dialects) as DialectName[];
  return names.find((name) => dialects[name].storage.scheme === scheme) ?? to;
}

/** The chosen dialect first, then those whose scheme is another one. */
function dialectsToTry(chosen: DialectName): DialectName[] {
  const names = Object.keys(dialects) as DialectName[];
  const seen = new Set<unknown>([dialects[chosen].storage.scheme]);
  return [
    chosen,
    ...names.filter((name) => {
      const { scheme } = dialects[name].storage;
      const isNew = !seen.has(scheme);
      seen.add(scheme);
      return isNew;
    }),
  ];
}

function TensorCharts({ tensor }: { readonly tensor: InspectedTensor }): JSX.Element {
  const { precision: text } = words.value;
  const isPlain = tensor.scaled === null;
  /** The dialect that the charts show. It stays the same while the form changes. */
  const [dialect] = useState<DialectName | null>(isPlain ? dialectOf(tensor.name) : null);
  const [whole, setWhole] = useState<Sample | null>(null);
  const [tried, setTried] = useState<readonly (readonly [DialectName, Sample])[]>([]);
  const [failure, setFailure] = useState<Problem | null>(null);
  const [isEmpty, setEmpty] = useState(false);
  useEffect(() => {
    const names = dialectsToTry(dialect ?? form.value.to);
    const loadSamples = async () => {
      const [closely] = await client.call("sample", tensor.name, dialect === null ? [] : [dialect], true);
      if (closely === undefined || closely.precision.count === 0) return setEmpty(true);
      setWhole(closely);
      if (tensor.shape.length < 2) return;
      // Formats whose blocks this shape cannot have are left out.
      const samples = names.map(async (one) => {
        const [tried] = await client.call("sample", tensor.name, [one], false).catch(() => []);
        return tried === undefined ? [] : [[one, tried] as const];
      });
      setTried((await Promise.all(samples)).flat());
    };
    loadSamples().catch((error) => setFailure(problemIn(error)));
  }, [tensor.name, isPlain, tensor.shape.length]);
  if (failure !== null) {
    return (
      <div class="note bad" role="alert">
        <ProblemText problem={failure} />
      </div>
    );
  }
  if (isEmpty)
    return (
      <p class="help" data-testid="nothing">
        {text.nothing}
      </p>
    );
  if (whole === null) {
    return (
      <p class="help" role="status">
        {text.loading}
      </p>
    );
  }
  return (
    <>
      {tried.length > 0 && <Comparison tried={tried} />}
      <div class="charts" data-testid="charts">
        <ValueChart sample={whole} hasAfter={isPlain} />
        {isPlain && <ErrorChart sample={whole} />}
        {whole.map !== null && <HeatMap map={whole.map} tensor={tensor.name} dialect={dialect} />}
      </div>
    </>
  );
}
