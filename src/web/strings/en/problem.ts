import type { ProblemKind } from "../../workers/problem.ts";

/** Words of what goes wrong. */
export const problem = {
  nothingKept: "Nothing unfinished was kept.",
  details: "Details",
  dismiss: "Close",
  parts: { where: "Where", expected: "Expected", got: "Found", fix: "What to do" },
  isWhat: (where: string, what: string): string => `${where} is ${what}`,
  unlike: (where: string, expected: string, got: string): string =>
    `${where}: expected ${expected}, found ${got}.`,
  expects: (expected: string): string => `Expected ${expected}.`,
  cutOff: (where: string): string => `${where} is cut off`,
  missingFiles: (names: string): string => `Files are missing: ${names}`,
  unknownModel: (name: string): string => `${name} is not a kind of model that runs here`,
  noWeights: (place: string): string => `There is no .safetensors file in ${place}`,
  notFinite: (tensor: string, row: string, column: string): string =>
    `${tensor} holds NaN or Inf in the block at row ${row}, column ${column}`,
  overflows: (tensor: string): string => `${tensor} holds values that would become Inf`,
  keepThis: (tensor: string): string => `Keep ${tensor} as it is`,
  keepAll: "Keep all that hold NaN or Inf",
  gated: (place: string): string => `${place} needs an access token`,
  missing: (place: string): string => `There is nothing at ${place}`,
  address: (place: string): string => `“${place}” is no address that a browser opens`,
  linkFormat: (name: string): string => `The link asks for a format “${name}”, which is not offered here`,
  linkTensor: (name: string): string => `The link asks for a tensor ${name}, which is not in here`,
  linkPlace: (name: string): string => `The link asks for “${name}”, which is not there`,
  titles: {
    space: "There is not enough space",
    storage: "This window lets pages store no files",
    changed: "A file changed or is gone",
    "short-write": "The browser lost data while writing",
    verify: "The file read back differs from what was written",
    permission: "The browser did not allow it",
    network: "The server did not give the file",
    cancelled: "Cancelled",
    "same-file": "The output would replace the input",
    format: "This file cannot be read",
    gated: "An access token is needed",
    missing: "There is nothing at this address",
    address: "This is no address",
    link: "The link asks for something that is not there",
    "not-finite": "A tensor holds NaN or Inf",
    pattern: "A pattern fits nothing",
    worker: "A part of the page stopped",
    other: "Something went wrong",
  } satisfies Record<ProblemKind, string> as Record<ProblemKind, string>,
  advice: {
    space: "Free some space, or choose another place to save, then convert again.",
    storage:
      "Looking inside works, converting does not: the browser gives this page no storage, as in some private windows. Open the page in a normal window, or in Chrome, Edge, Firefox or Safari.",
    changed: "Make sure nothing writes to the files, open them again, then convert again.",
    "short-write":
      "This happens in private windows once their memory is full. Open the page in a normal window, then convert again.",
    verify: "Convert again, preferably to another disk. If it happens again, the disk may be failing.",
    network:
      "Check the address. The server must answer range requests and allow other pages to read it; else download the file first.",
    permission: "Allow access to the files and folders you chose, then convert again.",
    cancelled: "Change what you like, then convert again.",
    "same-file": "Choose another file name or folder: the input is never changed.",
    gated:
      "It is gated or private, or does not exist. Enter below a token that may read it, then open it again.",
    missing: "Check owner, name and revision, or the address.",
    address: "Type owner/name of a model on Hugging Face, or an address that begins with https://.",
    link: "Check the link for a mistake, or choose here.",
    "not-finite":
      "A block of FP8 cannot hold such values. Keep this tensor in its own type, or repair the checkpoint.",
    pattern: "Patterns fit whole names: write *.down_proj.weight, or re: and a regular expression.",
    format: "Check that the download is complete and that it is a .safetensors file.",
    worker: "Usually memory ran out. Close other tabs, reload the page, then try again.",
    other: "Reload the page and try again. If it stays, please report it.",
  } satisfies Record<ProblemKind, string> as Record<ProblemKind, string>,
};
