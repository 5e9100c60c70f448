import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import {
  DESTINATIONS,
  type Destination,
  destinationNames,
  destinationOf,
  isReadAt,
  MIXED,
} from "../state/destinations.ts";
import { translated, words } from "../strings/index.ts";
import { Choice } from "./choice.tsx";

interface FormatChoiceProps {
  /** Id of the list of dialects; that of destinations has `-for` behind it. */
  readonly id: string;
  readonly value: DialectName;
  readonly disabled?: boolean;
  /** Whether the mix of formats is offered. */
  readonly offersMix?: boolean;
  onChange(value: DialectName): void;
}

/** Two lists: where the output will be used, and the dialects that are read there, the usual one first. */
export function FormatChoice(props: FormatChoiceProps): JSX.Element {
  const { id, value, disabled = false, offersMix = false, onChange } = props;
  const { target, destination, destinations } = words.value.convert;
  const [chosen, setChosen] = useState<Destination>(() => destinationOf(value));
  const shown = isReadAt(chosen, value) ? chosen : destinationOf(value);
  return (
    <>
      <Choice
        id={`${id}-for`}
        label={destination}
        value={shown}
        disabled={disabled}
        options={destinationNames.map((name) => [name, destinations[name]])}
        onChange={(name) => {
          setChosen(name);
          if (!isReadAt(name, value)) onChange(DESTINATIONS[name][0]);
        }}
      />
      <Choice
        id={id}
        label={target}
        value={value}
        disabled={disabled}
        options={DESTINATIONS[shown]
          .filter((name) => offersMix || name !== MIXED)
          .map((name) => [name, name])}
        help={translated(dialects[value].about)}
        onChange={onChange}
      />
    </>
  );
}
