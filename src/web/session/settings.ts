import { effect, type Signal, signal } from "@preact/signals";
import { remember, remembered } from "../strings/remembered.ts";

export type Theme = "auto" | "light" | "dark";

const KEY = "theme";

const saved = remembered(KEY);

/** Light or dark, or what the system says. */
export const theme: Signal<Theme> = signal(saved === "light" || saved === "dark" ? saved : "auto");

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
export const isDark: Signal<boolean> = signal(false);

function settle(): void {
  isDark.value = theme.value === "auto" ? systemIsDark.matches : theme.value === "dark";
}

effect(() => {
  settle();
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
  remember(KEY, theme.value);
});

systemIsDark.addEventListener("change", settle);
