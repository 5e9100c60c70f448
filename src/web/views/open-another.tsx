import type { JSX } from "preact";
import { leave, openAnother } from "../state/outputs.ts";
import { stage } from "../state/signals.ts";
import { words } from "../strings/index.ts";

interface OpenAnotherProps {
  readonly disabled?: boolean;
  /** Done before the open checkpoint is closed. */
  before?(): void;
}

/** Closes what is open, so that another can be opened; not while it is being converted. */
export function OpenAnother({ disabled = false, before }: OpenAnotherProps): JSX.Element {
  const go = () => {
    before?.();
    openAnother();
  };
  return (
    <button type="button" disabled={disabled || stage.value === "running"} onClick={() => leave(go)}>
      {words.value.open.another}
    </button>
  );
}
