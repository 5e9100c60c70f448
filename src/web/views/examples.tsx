import type { JSX } from "preact";
import { openExample } from "../session/actions.ts";
import { EXAMPLES, type ExampleName } from "../session/examples.ts";
import { stage } from "../session/model.ts";
import { words } from "../strings/index.ts";

/** Small checkpoints to try the page with. */
export function Examples(): JSX.Element {
  const { examples } = words.value;
  return (
    <section class="examples" aria-labelledby="examples-heading">
      <h2 id="examples-heading">{examples.heading}</h2>
      <ul>
        {(Object.keys(EXAMPLES) as ExampleName[]).map((name) => (
          <li key={name}>
            <button type="button" disabled={stage.value === "opening"} onClick={() => openExample(name)}>
              <b>{examples[name].title}</b>
              <span>{examples[name].text}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
