/** What a file is that is not safetensors, told by its first bytes. */
export interface FileKind {
  readonly what: string;
  /** Advice for somebody who has such a file. */
  readonly fix: string;
}

const FETCH = "Fetch the file itself: open its address in a browser to see what the server says.";
const OTHER_FORMAT =
  "Only .safetensors files are read: look for the model in that format, or convert it first.";

/** Beginnings of text files. */
const TEXTS: readonly (readonly [begins: RegExp, kind: FileKind])[] = [
  [/^GGUF/, { what: "a GGUF file (llama.cpp)", fix: OTHER_FORMAT }],
  [
    /^version https:\/\/git-lfs/,
    {
      what: "a git-lfs pointer, not the file it points to",
      fix: "Run `git lfs pull` in the repository.",
    },
  ],
  [/^\s*<(!doctype|html|\?xml)/i, { what: "a web page or XML", fix: FETCH }],
  [/^PK/, { what: "a zip archive, perhaps a PyTorch checkpoint (.bin, .pt)", fix: OTHER_FORMAT }],
  [/^(GIF8|RIFF....WEBP)/s, { what: "a picture", fix: "Give the .safetensors file." }],
  [/^%PDF/, { what: "a PDF document", fix: "Give the .safetensors file." }],
  [/^BZh/, { what: "a compressed file", fix: "Unpack it first." }],
  [
    /^\s*[{[]\s*["{}\]]/,
    { what: "JSON text", fix: "Give the .safetensors file, or the folder that it lies in." },
  ],
  // Read as the length of a header, eight letters are far beyond what any file holds.
  [/^[\t\n\r -~]{8}/, { what: "plain text", fix: "Give the .safetensors file." }],
];

/** Beginnings of other files, byte by byte. */
const BYTES: readonly (readonly [begins: readonly number[], kind: FileKind])[] = [
  [[0x80, 0x02], { what: "a Python pickle, perhaps a PyTorch checkpoint", fix: OTHER_FORMAT }],
  [[0x80, 0x04, 0x95], { what: "a Python pickle", fix: OTHER_FORMAT }],
  [[0x89, 0x50, 0x4e, 0x47], { what: "a picture", fix: "Give the .safetensors file." }],
  [[0xff, 0xd8, 0xff], { what: "a picture", fix: "Give the .safetensors file." }],
  [[0x1f, 0x8b], { what: "a compressed file", fix: "Unpack it first." }],
  [[0x28, 0xb5, 0x2f, 0xfd], { what: "a compressed file", fix: "Unpack it first." }],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], { what: "a compressed file", fix: "Unpack it first." }],
  [[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59], { what: "a NumPy array", fix: OTHER_FORMAT }],
  [[0x89, 0x48, 0x44, 0x46], { what: "an HDF5 file", fix: OTHER_FORMAT }],
];

/** Bytes at the beginning of a file that tell its kind. */
export const KIND_BYTES = 64;

/** The kind of a file that could not be read as safetensors; `null` if its beginning says nothing. */
export function fileKindOf(beginning: Uint8Array): FileKind | null {
  if (beginning.length === 0) return { what: "an empty file", fix: "Fetch the file again." };
  if (beginning.length === KIND_BYTES && beginning.every((byte) => byte === 0)) {
    return {
      what: "zeros where a header should be",
      fix: "The file was allocated and not written: fetch it again.",
    };
  }
  const text = String.fromCharCode(...beginning.subarray(0, KIND_BYTES));
  const found =
    TEXTS.find(([begins]) => begins.test(text)) ??
    BYTES.find(([begins]) => begins.every((byte, i) => beginning[i] === byte));
  return found?.[1] ?? null;
}
