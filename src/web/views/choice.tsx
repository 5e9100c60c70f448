import type { JSX } from "preact";

interface ChoiceProps<T extends string> {
  /** Id of the element. */
  readonly id: string;
  readonly label: string;
  readonly value: T;
  readonly options: readonly (readonly [value: T, shown: string])[];
  readonly disabled?: boolean;
  /** What the value means. */
  readonly help?: string;
  onChange(value: T): void;
}

/** A list to choose from, with its label. */
export function Choice<T extends string>(props: ChoiceProps<T>): JSX.Element {
  const { id, label, value, options, disabled = false, help, onChange } = props;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.value as T)}
      >
        {options.map(([one, shown]) => (
          <option key={one} value={one}>
            {shown}
          </option>
        ))}
      </select>
      {help !== undefined && <p class="help">{help}</p>}
    </div>
  );
}
