import type { JSX } from "preact";
import { view } from "../state/address.ts";
import { theme } from "../state/settings.ts";
import { selected, stage } from "../state/signals.ts";
import { chooseLanguage, type Language, language, languages, words } from "../strings/index.ts";
import { Icon, Mark } from "./icons.tsx";
import { lazy } from "./lazy.tsx";
import { LeaveDialog } from "./leave-dialog.tsx";
import { Navigation } from "./navigation.tsx";
import { ProblemNote } from "./problem.tsx";
import { Start } from "./start.tsx";
import { Workspace } from "./workspace.tsx";

/** Loaded on demand: it holds the charts, the largest part of the page. */
const TensorPanel = lazy(async () => (await import("./tensor-panel.tsx")).TensorPanel);

/** Loaded on demand: it holds the kernels. */
const Playground = lazy(async () => (await import("../playground/playground.tsx")).Playground);

const Train = lazy(async () => (await import("../train/train.tsx")).Train);

const Run = lazy(async () => (await import("../run/run.tsx")).Run);

const Compare = lazy(async () => (await import("../compare/compare.tsx")).Compare);

export function App(): JSX.Element {
  const isOpen = stage.value !== "start" && stage.value !== "opening";
  const isConverter = view.value === "convert";
  return (
    <>
      <a class="skip" href="#main">
        {words.value.skip}
      </a>
      <header class="page-header">
        <span class="brand">
          <Mark />
          {words.value.title}
        </span>
        <Navigation />
        <div class="settings">
          <LanguageButton />
          <ThemeButton />
        </div>
      </header>
      <p class="hidden" role="status">
        {stage.value === "running"
          ? words.value.run.heading
          : stage.value === "done" && words.value.done.heading}
      </p>
      <main id="main" tabIndex={-1}>
        <ProblemNote />
        {view.value === "playground" && <Playground />}
        {view.value === "run" && <Run />}
        {view.value === "compare" && <Compare />}
        {view.value === "train" && <Train />}
        {isConverter && (isOpen ? <Workspace /> : <Start />)}
      </main>
      {isConverter && isOpen && selected.value !== null && <TensorPanel />}
      <LeaveDialog />
    </>
  );
}

/** A button that switches to the other one of two languages. */
function LanguageButton(): JSX.Element {
  const names = Object.keys(languages) as Language[];
  const next = names[(names.indexOf(language.value) + 1) % names.length]!;
  return (
    <button
      type="button"
      class="quiet"
      lang={next === "zh" ? "zh-Hans" : next}
      onClick={() => chooseLanguage(next)}
    >
      {languages[next]}
    </button>
  );
}

const THEMES = ["auto", "light", "dark"] as const;
const THEME_ICONS = { auto: "half", light: "sun", dark: "moon" } as const;

function ThemeButton(): JSX.Element {
  const { label, ...names } = words.value.theme;
  const text = label + words.value.colon + names[theme.value];
  return (
    <button
      type="button"
      class="quiet square"
      aria-label={text}
      title={text}
      onClick={() => {
        theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
      }}
    >
      <Icon name={THEME_ICONS[theme.value]} />
    </button>
  );
}
