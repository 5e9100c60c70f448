import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { store, stored } from "../strings/local-storage.ts";

export type Theme = "auto" | "light" | "dark";

const KEY = "theme";

const saved = stored(KEY);

/** Light or dark, or what the system says. */
export const theme: Signal<Theme> = signal(saved === "light" || saved === "dark" ? saved : "auto");

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
export const isDark: Signal<boolean> = signal(false);

/** Whether the system's own colours take the place of the page's. */
const isForced: Signal<boolean> = signal(false);

const systemForces = matchMedia("(forced-colors: active)");

const narrow = matchMedia("(max-width: 40em)");

/** Whether the window is as narrow as a phone: the width where the style sheets change. */
export const isNarrow: Signal<boolean> = signal(false);

/** Changes with the page's colours: canvases are then drawn again. */
export const appearance: ReadonlySignal<string> = computed(
  () => `${isDark.value ? "dark" : "light"}${isForced.value ? " forced" : ""}`,
);

function update(): void {
  isNarrow.value = narrow.matches;
  isForced.value = systemForces.matches;
  isDark.value = theme.value === "auto" ? systemIsDark.matches : theme.value === "dark";
}

effect(() => {
  update();
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
  store(KEY, theme.value);
});

for (const query of [systemIsDark, systemForces, narrow]) query.addEventListener("change", update);
