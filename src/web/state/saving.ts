import type { Target } from "../workers/protocol.ts";
import { pickers } from "./pickers.ts";

/** Whether the browser lets the user choose where to save. */
export function canChoose(isFolder: boolean): boolean {
  return (isFolder ? pickers.showDirectoryPicker : pickers.showSaveFilePicker) !== undefined;
}

/**
 * Asks where the output should go; the origin private file system where the browser has no such question.
 * `null` where the user changed their mind.
 */
export async function chooseTarget(isFolder: boolean, suggestedName: string): Promise<Target | null> {
  const { showDirectoryPicker, showSaveFilePicker } = pickers;
  try {
    if (isFolder && showDirectoryPicker !== undefined) {
      return { kind: "folder", handle: await showDirectoryPicker.call(window, { mode: "readwrite" }) };
    }
    if (!isFolder && showSaveFilePicker !== undefined) {
      const types = [{ accept: { "application/octet-stream": [".safetensors"] } }];
      return { kind: "file", handle: await showSaveFilePicker.call(window, { suggestedName, types }) };
    }
  } catch (error) {
    if ((error as DOMException).name === "AbortError") return null;
    throw error;
  }
  return { kind: "private" };
}

/** Hands a report to the browser's downloads. */
export function downloadText(text: string, name: string, type: string): void {
  download(new Blob([text], { type }), name);
}

/** Hands a file to the browser's downloads. */
export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name.split("/").at(-1)!;
  link.click();
  // The browser goes on reading after the click; a day is longer than any download of this tab.
  setTimeout(() => URL.revokeObjectURL(url), 86_400_000);
}
