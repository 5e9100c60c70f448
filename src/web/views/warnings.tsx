import type { JSX } from "preact";
import { translatedWarning, words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";

/** Most warnings in the list: a checkpoint may have one for each tensor. */
const SHOWN = 100;

/** Up to this many warnings are shown without opening a list. */
const SHOWN_AT_ONCE = 3;

/** Warnings of the library about a checkpoint or a plan. */
export function Warnings({ of }: { readonly of: readonly string[] }): JSX.Element | null {
  if (of.length === 0) return null;
  const list = (
    <ul>
      {of.slice(0, SHOWN).map((warning) => (
        <li key={warning}>{translatedWarning(warning)}</li>
      ))}
    </ul>
  );
  return (
    <div class="note warnings" role="status" data-testid="warnings">
      <Icon name="alert" />
      {of.length <= SHOWN_AT_ONCE ? (
        list
      ) : (
        <details>
          <summary>{words.value.table.warnings(of.length)}</summary>
          {list}
        </details>
      )}
    </div>
  );
}
