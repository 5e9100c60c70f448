import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { open, openPlace } from "../session/actions.ts";
import { fromDrop, fromInput, fromPicker } from "../session/files.ts";
import { stage, wasCutOff } from "../session/model.ts";
import { pickers } from "../session/pickers.ts";
import { words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";

/** Where files come in. */
export function Start(): JSX.Element {
  const { start } = words.value;
  const isOpening = stage.value === "opening";
  return (
    <div class="start">
      {wasCutOff.value && (
        <div class="note" role="status">
          <Icon name="alert" />
          <p>{start.cutOff}</p>
        </div>
      )}
      <h1>{start.heading}</h1>
      <p class="lead">{start.lead}</p>
      <DropArea isOpening={isOpening} />
      <PlaceForm isOpening={isOpening} />
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

function PlaceForm({ isOpening }: { readonly isOpening: boolean }): JSX.Element {
  const { start } = words.value;
  const [place, setPlace] = useState("");
  return (
    <form
      class="place"
      onSubmit={(event) => {
        event.preventDefault();
        if (place.trim() !== "") openPlace(place);
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
    </form>
  );
}

function DropArea({ isOpening }: { readonly isOpening: boolean }): JSX.Element {
  const { start } = words.value;
  const [isOver, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const take = (input: HTMLInputElement) => {
    if (input.files !== null && input.files.length > 0) open(fromInput(input.files));
    // Choosing the same file again must count as a change.
    input.value = "";
  };
  const pickFolder = () => {
    const { showDirectoryPicker } = pickers;
    if (showDirectoryPicker === undefined) folder.current!.click();
    else open(fromPicker(showDirectoryPicker));
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
        if (event.dataTransfer !== null) open(fromDrop(event.dataTransfer));
      }}
    >
      <p class="drop-text" aria-live="polite">
        {isOpening ? start.opening : isOver ? start.dropNow : start.drop}
      </p>
      <div class="row">
        <button type="button" class="primary" disabled={isOpening} onClick={() => files.current!.click()}>
          {start.files}
        </button>
        <button type="button" disabled={isOpening} onClick={pickFolder}>
          {start.folder}
        </button>
      </div>
      <input
        ref={files}
        class="hidden"
        type="file"
        accept=".safetensors,.json"
        multiple
        data-testid="files"
        tabIndex={-1}
        aria-hidden="true"
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={folder}
        class="hidden"
        type="file"
        data-testid="folder"
        tabIndex={-1}
        aria-hidden="true"
        {...{ webkitdirectory: true }}
        onChange={(event) => take(event.currentTarget)}
      />
    </div>
  );
}
