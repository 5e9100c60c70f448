import { effect, type Signal, signal } from "@preact/signals";
import type { Facts } from "../workers/problem.ts";
import { isOffered } from "./destinations.ts";
import { changeForm, form, linkProblems, opened, selected, stage } from "./signals.ts";

/** The parts of the page, as `?view=` names them; the converter has no name in the address. */
export const VIEWS = ["convert", "playground", "run", "compare", "train"] as const;
export type ViewName = (typeof VIEWS)[number];

/**
 * Where an open checkpoint came from, so that a link can open it again: the hub, an address, or an example of
 * this page.
 */
export type Origin = { readonly kind: "model" | "example"; readonly name: string };

export const view: Signal<ViewName> = signal("convert");

/** `null` for files of the user's own, to which no link leads. */
export const origin: Signal<Origin | null> = signal(null);

export function query(): URLSearchParams {
  return new URLSearchParams(location.search);
}

/** The part of the page that an address names. */
export function viewIn(params: URLSearchParams): ViewName {
  const named = params.get("view") as ViewName;
  return VIEWS.includes(named) ? named : "convert";
}

/** The address of a part of the page, for links. */
export function addressOf(name: ViewName, fields: Readonly<Record<string, string>> = {}): string {
  const params = new URLSearchParams({ ...(name !== "convert" && { view: name }), ...fields });
  const text = params.toString();
  return text === "" ? location.pathname : `?${text}`;
}

/** Goes to another part of the page, which Back undoes. */
export function goTo(name: ViewName, fields: Readonly<Record<string, string>> = {}): void {
  if (name === view.value && Object.keys(fields).length === 0) return;
  history.pushState(null, "", addressOf(name, fields));
  view.value = name;
  scrollTo(0, 0);
}

/** Replaces what the address says of a part of the page; nothing where another part is shown by now. */
export function setAddress(name: ViewName, fields: Readonly<Record<string, string>>): void {
  if (view.peek() !== name) return;
  const wanted = addressOf(name, fields);
  // Some browsers refuse more than a hundred changes in half a minute.
  if (wanted !== (location.search || location.pathname)) history.replaceState(null, "", wanted);
}

/** Shows that something a link asks for does not exist. */
export function refuseLink(facts: Facts): void {
  linkProblems.value = [...linkProblems.value, { kind: "link", message: "", facts }];
}

/** What a link asks for, once its checkpoint is open. Names from outside count only if they are known. */
export function takeFromAddress(params: URLSearchParams): void {
  const format = params.get("format");
  if (format !== null) {
    if (isOffered(format)) changeForm({ action: "quantize", to: format });
    else refuseLink({ format });
  }
  const tensor = params.get("tensor");
  if (tensor !== null) {
    if (opened.value!.inspection.tensors.some(({ name }) => name === tensor)) selected.value = tensor;
    else refuseLink({ tensor });
  }
}

/** A repository as owner/name or owner/name@revision, or an https address: what a link may open. */
export const LINKABLE: RegExp = /^([\w.-]+\/[\w.-]+(@[\w./-]+)?|https:\/\/\S+)$/;

/** Keeps the address in step with what is open, from now on. */
export function followAddress(): void {
  view.value = viewIn(query());
  addEventListener("popstate", () => {
    view.value = viewIn(query());
    if (view.value === "convert" && opened.value !== null) selected.value = query().get("tensor");
  });
  effect(() => {
    const from = origin.value;
    const isOpen = opened.value !== null;
    const { action, to } = form.value;
    const tensor = selected.value;
    if (stage.value === "opening" || view.value !== "convert") return;
    setAddress("convert", {
      ...(isOpen && from !== null && { [from.kind]: from.name }),
      ...(isOpen && tensor !== null && { tensor }),
      ...(isOpen && from !== null && action === "quantize" && { format: to }),
    });
  });
}
