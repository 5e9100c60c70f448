import type { JSX } from "preact";

interface TextAreaProps {
  /** Id of the element. */
  readonly id: string;
  readonly label: string;
  readonly rows: number;
  readonly value: string;
  /** What the text is for. */
  readonly help?: string;
  /** What is wrong in it, of a text that can be wrong; `null` while nothing is. */
  readonly fault?: string | null;
  /** An example, of a text that is code. */
  readonly placeholder?: string;
  onInput(value: string): void;
}

/** A field for several lines, with its label. */
export function TextArea(props: TextAreaProps): JSX.Element {
  const { id, label, rows, value, help, fault, placeholder, onInput } = props;
  const code = placeholder === undefined ? {} : { placeholder, spellcheck: false, autocomplete: "off" };
  return (
    <div class="field own">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        rows={rows}
        value={value}
        {...code}
        aria-invalid={fault != null}
        aria-describedby={fault != null ? `${id}-fault` : undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {fault !== undefined && (
        <p id={`${id}-fault`} class="field-fault" aria-live="polite">
          {fault}
        </p>
      )}
      {help !== undefined && <p class="help">{help}</p>}
    </div>
  );
}
