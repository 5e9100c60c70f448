/** The File System Access API, which only Chromium has. */
interface Pickers {
  readonly showSaveFilePicker?: (options: {
    readonly suggestedName: string;
    readonly types: readonly { readonly accept: { readonly [type: string]: readonly string[] } }[];
  }) => Promise<FileSystemFileHandle>;
  readonly showDirectoryPicker?: (options: {
    readonly mode: "read" | "readwrite";
  }) => Promise<FileSystemDirectoryHandle>;
}

/** Looked up on each use: what is missing is `undefined`. */
export const pickers: Pickers = window as unknown as Pickers;
