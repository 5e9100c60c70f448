import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { problemIn } from "../state/client.ts";
import { changeForm, form, overrides, problem } from "../state/signals.ts";
import { joined, translated, words } from "../strings/index.ts";
import { TextArea } from "./text-area.tsx";

/** The format of each weight, as JSON: pasted, or a file that `blockscale sensitivity` made. */
export function OverridesField(): JSX.Element {
  const { convert: text, problem: said } = words.value;
  const file = useRef<HTMLInputElement>(null);
  const { fault, list } = overrides.value;
  const read = async (input: HTMLInputElement) => {
    const [chosen] = input.files ?? [];
    try {
      if (chosen !== undefined) changeForm({ overrides: await chosen.text() });
    } catch (error) {
      problem.value = problemIn(error);
    }
    // Choosing the same file again must count as a change.
    input.value = "";
  };
  const wrong =
    fault === null
      ? null
      : joined(
          said.unlike(translated(fault.where), translated(fault.expected), translated(fault.got)),
          translated(fault.fix),
        );
  return (
    <div class="overrides">
      <TextArea
        id="overrides"
        label={text.overrides}
        rows={4}
        value={form.value.overrides}
        placeholder={'[{ "pattern": "*.down_proj.weight", "scheme": "mxfp8" }]'}
        fault={wrong}
        help={list.length > 0 ? text.overridesCount(list.length) : text.overridesHelp}
        onInput={(typed) => changeForm({ overrides: typed })}
      />
      <button type="button" onClick={() => file.current!.click()}>
        {text.overridesFile}
      </button>
      <input
        ref={file}
        class="hidden"
        type="file"
        accept=".json,application/json"
        data-testid="overrides-file"
        tabIndex={-1}
        aria-hidden="true"
        onChange={(event) => read(event.currentTarget)}
      />
    </div>
  );
}
