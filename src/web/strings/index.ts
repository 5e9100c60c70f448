import { batch, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { en, type Words } from "./en.ts";
import { store, stored } from "./local-storage.ts";

/** The languages there are, by their own names. Adding one is adding a file, and an entry here and below. */
export const languages = { en: "English", zh: "中文" } as const;

export type Language = keyof typeof languages;

/** Languages that are loaded on demand. */
const LOADERS = { zh: async (): Promise<Words> => (await import("./zh.ts")).zh };

// WebKitGTK calls the language of a system that has none "C". Intl throws at that, and uPlot asks Intl while
// it loads: this file comes before the views that draw.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}

const KEY = "language";

function preferred(): Language {
  const wanted = [stored(KEY), ...navigator.languages];
  const found = wanted
    .map((tag) => tag?.slice(0, 2))
    .find((tag) => tag != null && Object.hasOwn(languages, tag));
  return (found as Language | undefined) ?? "en";
}

export const language: Signal<Language> = signal("en");

const loaded: Signal<Words> = signal(en);

/** Status of a run for the title of the tab: a percentage, or that it is done. */
export const runStatus: Signal<string> = signal("");

/** The words in the language of the user. */
export const words: ReadonlySignal<Words> = loaded;

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-Hans" : language.value;
  const { title, tagline } = words.value;
  document.title = runStatus.value === "" ? `${title} – ${tagline}` : `${runStatus.value} – ${title}`;
});

/** Shows the page in a language, once its words are here; without them it stays as it is. */
async function show(chosen: Language): Promise<void> {
  const found = chosen === "en" ? en : await LOADERS[chosen]();
  batch(() => {
    loaded.value = found;
    language.value = chosen;
  });
}

/** Resolves when the words of the user's language are here. */
export const ready: Promise<void> = show(preferred()).catch(() => {});

export function chooseLanguage(chosen: Language): void {
  store(KEY, chosen);
  show(chosen).catch(() => {});
}

/** A text of the library in the language of the user, where it is known. */
export function translated(text: string): string {
  const { textsOfLibrary, patternsOfLibrary } = words.value;
  if (Object.hasOwn(textsOfLibrary, text)) return textsOfLibrary[text]!;
  for (const [pattern, become] of patternsOfLibrary) {
    const parts = pattern.exec(text);
    if (parts !== null) return become.replace(/\$(\d)/g, (_, i) => translated(parts[i] ?? ""));
  }
  return text;
}

/**
 * Two sentences of the page as one text; the first may be empty. Chinese has no space between them.
 */
export function joined(first: string, second: string): string {
  return first === "" || language.value === "zh" ? first + second : `${first} ${second}`;
}

/** A warning of the library: where something is, what was expected and what was found; or a sentence. */
export function translatedWarning(text: string): string {
  const [, ...parts] = /^(.+?): expected (.+), got (.+)$/s.exec(text) ?? [];
  if (parts.length === 0) return translated(text);
  const [where, expected, got] = parts.map(translated);
  return words.value.problem.unlike(where!, expected!, got!);
}
