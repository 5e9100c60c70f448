import type { JSX, RefObject } from "preact";
import { useRef, useState } from "preact/hooks";
import type { ExampleName } from "../state/examples.ts";
import { fromDrop, fromInput, fromPicker } from "../state/files.ts";
import { open, openExample, openPlace } from "../state/opening.ts";
import { remove, save } from "../state/outputs.ts";
import { pickers } from "../state/pickers.ts";
import { packing, problem, stage, unsaved, wasCutOff } from "../state/signals.ts";
import { ago, bytes } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { Examples } from "./examples.tsx";
import { Icon } from "./icons.tsx";
import { lazy } from "./lazy.tsx";

/** Loaded on demand: it holds the code that draws. */
const WhatYouGet = lazy(async () => (await import("./what-you-get.tsx")).WhatYouGet);

/** The start of the page, where files come in. */
export function Start(): JSX.Element {
  const { start } = words.value;
  return (
    <div class="start">
      {wasCutOff.value && (
        <div class="note" role="status">
          <Icon name="alert" />
          <p>{start.cutOff}</p>
        </div>
      )}
      <UnsavedOutputs />
      <h1>{start.heading}</h1>
      <p class="lead">{start.lead}</p>
      <PageOpeners />
      <WhatYouGet />
      <ul class="promises">
        {[start.private, start.offline, start.memory].map((promise) => (
          <li key={promise}>
            <Icon name="check" />
            {promise}
          </li>
        ))}
      </ul>
    </div>
  );
}

interface OpenersProps {
  readonly isOpening: boolean;
  readonly onFiles: typeof open;
  onPlace(place: string, token: string): void;
  onExample(name: ExampleName): void;
}

/** Every way to open a checkpoint on the page. */
export function PageOpeners(): JSX.Element {
  const isOpening = stage.value === "opening";
  return <Openers isOpening={isOpening} onFiles={open} onPlace={openPlace} onExample={openExample} />;
}

/** Every way to say which checkpoint is meant. */
export function Openers({ isOpening, onFiles, onPlace, onExample }: OpenersProps): JSX.Element {
  return (
    <>
      <DropArea isOpening={isOpening} onFiles={onFiles} />
      <PlaceForm isOpening={isOpening} onPlace={onPlace} />
      <Examples isOpening={isOpening} onExample={onExample} />
    </>
  );
}

/** Outputs that were finished and not saved, of this visit and earlier ones. */
function UnsavedOutputs(): JSX.Element | null {
  const { start } = words.value;
  const outputs = unsaved.value;
  if (outputs.length === 0) return null;
  return (
    <section class="kept" aria-labelledby="kept-heading" data-testid="kept">
      <h2 id="kept-heading">{start.unsaved}</h2>
      <ul>
        {outputs.map(({ id, name, time, files }) => (
          <li key={id}>
            <span class="file">{name}</span>
            <span class="help">
              {bytes(files.reduce((n, { size }) => n + size, 0))} · {ago(time)}
            </span>
            <button
              type="button"
              aria-label={`${words.value.done.save}: ${name}`}
              disabled={packing.value !== null}
              onClick={() => save(id, files, name)}
            >
              {packing.value === id ? words.value.done.packing : words.value.done.save}
            </button>
            <button
              type="button"
              class="quiet"
              aria-label={`${start.remove}: ${name}`}
              onClick={() => remove(id)}
            >
              {start.remove}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function PlaceForm({ isOpening, onPlace }: Pick<OpenersProps, "isOpening" | "onPlace">): JSX.Element {
  const { start } = words.value;
  const [place, setPlace] = useState("");
  // Kept in memory only: it is gone when the page is closed.
  const [token, setToken] = useState("");
  const wantsToken = problem.value?.kind === "gated" || token !== "";
  return (
    <form
      class="place"
      onSubmit={(event) => {
        event.preventDefault();
        if (place.trim() !== "") onPlace(place, token.trim());
      }}
    >
      <label for="place">{start.urlLabel}</label>
      <input
        id="place"
        type="text"
        inputMode="url"
        autocomplete="off"
        spellcheck={false}
        placeholder={start.urlPlaceholder}
        value={place}
        onInput={(event) => setPlace(event.currentTarget.value)}
      />
      <button type="submit" disabled={isOpening}>
        {start.urlOpen}
      </button>
      {wantsToken && (
        <>
          <label for="token">{start.token}</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            placeholder="hf_…"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          <p class="help token-note">{start.tokenNote}</p>
        </>
      )}
    </form>
  );
}

function DropArea({ isOpening, onFiles }: Pick<OpenersProps, "isOpening" | "onFiles">): JSX.Element {
  const { start } = words.value;
  const [isOver, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const pickFolder = () => {
    const { showDirectoryPicker } = pickers;
    if (showDirectoryPicker === undefined) folder.current!.click();
    else onFiles(fromPicker(showDirectoryPicker));
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is one way of several, the buttons are the others
    <div
      class={isOver ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer !== null) onFiles(fromDrop(event.dataTransfer));
      }}
    >
      <p class="drop-text" aria-live="polite">
        {isOpening ? (
          start.opening
        ) : isOver ? (
          start.dropNow
        ) : (
          <>
            <span class="with-keys">{start.drop}</span>
            <span class="by-touch">{start.choose}</span>
          </>
        )}
      </p>
      <div class="row">
        <button type="button" class="primary" disabled={isOpening} onClick={() => files.current!.click()}>
          {start.files}
        </button>
        <button type="button" disabled={isOpening} onClick={pickFolder}>
          {start.folder}
        </button>
      </div>
      <HiddenInput at={files} id="files" onFiles={onFiles} multiple />
      <HiddenInput at={folder} id="folder" onFiles={onFiles} {...{ webkitdirectory: true }} />
    </div>
  );
}

interface HiddenInputProps extends Pick<OpenersProps, "onFiles"> {
  readonly at: RefObject<HTMLInputElement | null>;
  readonly id: string;
  readonly multiple?: boolean;
}

/** An input of files that a button opens. */
function HiddenInput({ at, id, onFiles, ...more }: HiddenInputProps): JSX.Element {
  const take = (input: HTMLInputElement) => {
    if (input.files !== null && input.files.length > 0) onFiles(fromInput(input.files));
    // Choosing the same file again must count as a change.
    input.value = "";
  };
  return (
    <input
      ref={at}
      class="hidden"
      type="file"
      data-testid={id}
      tabIndex={-1}
      aria-hidden="true"
      onChange={(event) => take(event.currentTarget)}
      {...more}
    />
  );
}
