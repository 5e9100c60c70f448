import { options } from "preact";
import { linesWithEscapes } from "../safetensors/display.ts";

/** Attributes that are shown or read aloud. */
const SPOKEN = ["title", "aria-label"];

/**
 * Shows escapes for characters that turn or hide text, from now on and all over the page: names of tensors
 * and files, and what a model writes, come from anybody.
 */
export function showHiddenCharacters(): void {
  const before = options.vnode;
  options.vnode = (vnode) => {
    const node = vnode as { readonly type: unknown; props: unknown };
    // Text is a node without a type.
    if (node.type === null && typeof node.props === "string") node.props = linesWithEscapes(node.props);
    if (typeof node.type === "string") {
      const attributes = node.props as { [name: string]: unknown };
      for (const name of SPOKEN) {
        const text = attributes[name];
        if (typeof text === "string") attributes[name] = linesWithEscapes(text);
      }
    }
    before?.(vnode);
  };
}
