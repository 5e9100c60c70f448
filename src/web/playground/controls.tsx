import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { Choice } from "../views/choice.tsx";
import { CopyButton } from "../views/copy-button.tsx";
import { BLOCKS, BRUSHES, change, FORMATS, MATRICES, ROLES, RULES, STANDARD, settings } from "./state.ts";
import { words } from "./words.ts";

/** What can be set: the matrix, how it is cut and coded, and the brush. */
export function Controls({ brush }: { readonly brush: Signal<string> }): JSX.Element {
  const text = words.value;
  const { matrix, role, block, format, rule, seed, painted } = settings.value;
  const rules = RULES.filter((one) => one !== "nvfp4" || format === "e2m1");
  return (
    <section class="controls" aria-label={text.settings}>
      <Choice
        id="play-matrix"
        label={text.matrix.label}
        value={matrix}
        options={MATRICES.map((one) => [one, text.matrix[one]])}
        onChange={(value) => change({ matrix: value })}
      />
      <Choice
        id="play-role"
        label={text.role.label}
        value={role}
        options={ROLES.map((one) => [one, text.role[one]])}
        onChange={(value) => change({ role: value })}
      />
      <Choice
        id="play-block"
        label={text.block}
        value={block}
        options={BLOCKS.map((one) => [one, one])}
        onChange={(value) => change({ block: value })}
      />
      <Choice
        id="play-format"
        label={text.format}
        value={format}
        options={FORMATS.map((one) => [one, one.toUpperCase()])}
        onChange={(value) => change({ format: value })}
      />
      <Choice
        id="play-rule"
        label={text.rule.label}
        value={rule}
        options={rules.map((one) => [one, text.rule[one]])}
        onChange={(value) => change({ rule: value })}
      />
      <Choice
        id="play-brush"
        label={text.brush}
        value={brush.value}
        options={Object.entries(BRUSHES).map(([letter, value]) => [letter, String(value)])}
        onChange={(value) => {
          brush.value = value;
        }}
      />
      <div class="row buttons">
        <button type="button" onClick={() => change({ seed: seed + 1 })} disabled={matrix === "zero"}>
          {text.again}
        </button>
        <button
          type="button"
          disabled={painted.size === 0}
          onClick={() => change({ painted: STANDARD.painted })}
        >
          {text.clear}
        </button>
        <CopyButton label={text.link} copied={text.copied} text={() => location.href} />
        <p class="help">{text.brushHelp}</p>
      </div>
    </section>
  );
}
