import type { JSX } from "preact";
import { translatedWarning, words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";

/** Warnings shown: a checkpoint may have one for each of its tensors. */
const SHOWN = 100;

/** Warnings that are shown without being asked for. */
const FEW = 3;

/** What the library says of a checkpoint or a plan, to be read before it is used. */
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
      {of.length <= FEW ? (
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
