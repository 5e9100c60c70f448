import type { JSX } from "preact";
import { addressOf, goTo, VIEWS, view } from "../state/address.ts";
import { words } from "../strings/index.ts";

/** Links to the parts of the page. They are real ones, so that they can be opened elsewhere and copied. */
export function Navigation(): JSX.Element {
  const { views } = words.value;
  return (
    <nav class="views" aria-label={views.label}>
      {VIEWS.map((name) => (
        <a
          key={name}
          href={addressOf(name)}
          aria-current={view.value === name ? "page" : undefined}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            goTo(name);
          }}
        >
          {views[name]}
        </a>
      ))}
    </nav>
  );
}
