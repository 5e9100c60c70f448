import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { en, type Words } from "./en.ts";
import { remember, remembered } from "./remembered.ts";
import { zh } from "./zh.ts";

/** The languages there are. Adding one is adding a file and an entry here. */
export const languages = { en, zh } as const satisfies Record<string, Words>;

export type Language = keyof typeof languages;

// WebKitGTK calls the language of a system that has none "C". Intl throws at that, and uPlot asks Intl while it loads:
// the views that draw come after this file.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}

const KEY = "language";

function preferred(): Language {
  const wanted = [remembered(KEY), ...navigator.languages];
  const found = wanted
    .map((tag) => tag?.slice(0, 2))
    .find((tag) => tag != null && Object.hasOwn(languages, tag));
  return (found as Language | undefined) ?? "en";
}

export const language: Signal<Language> = signal(preferred());

/** What goes on, for the title of the tab: a percentage, or that it is done. */
export const doing: Signal<string> = signal("");

/** The words in the language of the user. */
export const words: ReadonlySignal<Words> = computed(() => languages[language.value]);

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-Hans" : language.value;
  const { title, tagline } = words.value;
  document.title = doing.value === "" ? `${title} – ${tagline}` : `${doing.value} – ${title}`;
});

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  remember(KEY, chosen);
}

/** A text of the library in the language of the user, where it is known. */
export function translated(text: string): string {
  const { textsOfLibrary, patternsOfLibrary } = words.value;
  const known = textsOfLibrary[text];
  if (known !== undefined) return known;
  for (const [pattern, become] of patternsOfLibrary) {
    if (pattern.test(text)) return text.replace(pattern, become);
  }
  return text;
}

/** Whether a text is one of the library's that tell what a file is instead of a checkpoint. */
export function isTranslated(text: string): boolean {
  return Object.hasOwn(zh.textsOfLibrary, text);
}
