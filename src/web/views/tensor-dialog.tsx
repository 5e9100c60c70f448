import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import type { InspectedTensor } from "../../checkpoint/measure/inspect.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import { sample } from "../session/actions.ts";
import { problemIn } from "../session/client.ts";
import { form, opened, selected } from "../session/model.ts";
import { bytes, shapeOf } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import type { Problem } from "../workers/protocol.ts";
import { Comparison } from "./comparison.tsx";
import { ErrorChart, ValueChart } from "./distributions.tsx";
import { HeatMap } from "./heat-map.tsx";
import { Icon } from "./icons.tsx";
import { ProblemText } from "./problem.tsx";

/** One tensor looked at closely. */
export function TensorDialog(): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const name = selected.value;
  const tensor = opened.value?.inspection.tensors.find((one) => one.name === name);
  useEffect(() => {
    if (tensor === undefined) dialog.current?.close();
    else if (!dialog.current!.open) dialog.current!.showModal();
  }, [tensor]);
  const close = () => {
    selected.value = null;
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog without our doing
    <dialog
      ref={dialog}
      data-testid="tensor"
      aria-labelledby="tensor-heading"
      onClose={close}
      onClick={(event) => event.target === event.currentTarget && close()}
    >
      {tensor !== undefined && (
        <article>
          <header>
            <h2 id="tensor-heading">{tensor.name}</h2>
            <button
              type="button"
              class="quiet square"
              aria-label={words.value.precision.close}
              onClick={close}
            >
              <Icon name="close" />
            </button>
          </header>
          <Facts tensor={tensor} />
          <Closer key={tensor.name} tensor={tensor} />
        </article>
      )}
    </dialog>
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

/** The chosen dialect first, then those whose scheme is another one. */
function dialectsToTry(): DialectName[] {
  const names = Object.keys(dialects) as DialectName[];
  const chosen = form.value.to;
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

function Closer({ tensor }: { readonly tensor: InspectedTensor }): JSX.Element {
  const { precision: text } = words.value;
  const isPlain = tensor.scaled === null;
  const [whole, setWhole] = useState<Sample | null>(null);
  const [tried, setTried] = useState<readonly (readonly [DialectName, Sample])[]>([]);
  const [failure, setFailure] = useState<Problem | null>(null);
  const [isEmpty, setEmpty] = useState(false);
  useEffect(() => {
    const names = dialectsToTry();
    const look = async () => {
      const [closely] = await sample(tensor.name, isPlain ? [names[0]!] : [], true);
      if (closely === undefined || closely.precision.count === 0) return setEmpty(true);
      setWhole(closely);
      if (tensor.shape.length < 2) return;
      const samples = await sample(tensor.name, names, false);
      setTried(samples.map((one, i) => [names[i]!, one]));
    };
    look().catch((error) => setFailure(problemIn(error)));
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
        {whole.map !== null && <HeatMap map={whole.map} />}
      </div>
    </>
  );
}
