import { type Signal, signal } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { problemIn } from "../state/client.ts";
import { problem } from "../state/signals.ts";

/** A view whose code is loaded when it is first shown; until then it is empty. */
export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
): (props: P) => JSX.Element | null {
  const loaded: Signal<ComponentType<P> | null> = signal(null);
  let isAsked = false;
  return function Lazy(props: P): JSX.Element | null {
    if (!isAsked) {
      isAsked = true;
      load().then(
        (view) => {
          loaded.value = view;
        },
        (error) => {
          isAsked = false;
          problem.value = problemIn(error);
        },
      );
    }
    const View = loaded.value;
    return View === null ? null : <View {...props} />;
  };
}
