import type { JSX } from "preact";

interface TextAreaProps {
  /** Id of the element. */
  readonly id: string;
  readonly label: string;
  readonly rows: number;
  readonly value: string;
  /** What the text is for. */
  readonly help?: string;
  onInput(value: string): void;
}

/** A field for several lines, with its label. */
export function TextArea({ id, label, rows, value, help, onInput }: TextAreaProps): JSX.Element {
  return (
    <div class="field own">
      <label for={id}>{label}</label>
      <textarea id={id} rows={rows} value={value} onInput={(event) => onInput(event.currentTarget.value)} />
      {help !== undefined && <p class="help">{help}</p>}
    </div>
  );
}
