import type { JSX } from "preact";
import { EXAMPLES, type ExampleName } from "../state/examples.ts";
import { words } from "../strings/index.ts";

interface ExamplesProps {
  readonly isOpening: boolean;
  onExample(name: ExampleName): void;
}

/** Small checkpoints to try the page with. */
export function Examples({ isOpening, onExample }: ExamplesProps): JSX.Element {
  const { examples } = words.value;
  return (
    <section class="examples" aria-labelledby="examples-heading">
      <h2 id="examples-heading">{examples.heading}</h2>
      <ul>
        {(Object.keys(EXAMPLES) as ExampleName[]).map((name) => (
          <li key={name}>
            <button type="button" disabled={isOpening} onClick={() => onExample(name)}>
              <b>{examples[name].title}</b>
              <span>{examples[name].text}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
