import { jsonOf } from "../checkpoint/measure/summary.ts";
import { systemFault } from "../io/node.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";

// An error nobody listens to would end the process with a stack trace: also of the help, which commander
// prints.
process.stdout.on("error", () => {});

/**
 * Prints to standard output; done when the system has taken it.
 * @throws BlockscaleError `io`
 */
export async function print(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(`${text}\n`, (cause) => {
      // Whoever stops reading, such as head, has seen enough.
      if (cause == null || (cause as NodeJS.ErrnoException).code === "EPIPE") resolve();
      else reject(systemFault("standard output", "to be able to write to it", cause));
    });
  });
}

let isPrinted = false;

/** Prints a record as JSON, with what could move a cursor escaped: JSON.stringify does so for half of it. */
export function printJson(record: unknown): Promise<void> {
  isPrinted = true;
  return print(jsonOf(record).split("\n").map(figures.text).join("\n"));
}

/** Characters of each of the four parts of a message: names and what was found may be megabytes. */
const LONGEST_PART = 500;

/**
 * Prints whatever was thrown as one line of bounded length that no file can make move the cursor.
 * @param asJson prints it to standard output as well, as { error: { code, where, expected, got, fix } }
 * @returns the exit status: 1 failed, 2 wrong usage
 */
export function printError(thrown: unknown, asJson = false): 1 | 2 {
  const { code, fault } = thrown instanceof BlockscaleError ? thrown : internalError(thrown);
  const part = (text: string) => figures.text(figures.cut(text, LONGEST_PART));
  const parts = {
    where: part(fault.where),
    expected: part(fault.expected),
    got: part(fault.got),
    fix: part(fault.fix),
  };
  const { message } = new BlockscaleError(code, parts);
  console.error(`blockscale: ${message}`);
  if (asJson) printJsonError({ code, message, ...parts });
  return code === "option" ? 2 : 1;
}

/** Prints what was wrong with the arguments as JSON, beside the text that commander prints. */
export function printUsageError(message: string): void {
  const fault = {
    where: "the command line",
    expected: "the arguments that --help explains",
    got: message.replace(/^error: /, ""),
    fix: "Correct the command.",
  };
  printJsonError({ code: "option", message: new BlockscaleError("option", fault).message, ...fault });
}

/** Prints an error as JSON, unless a report was printed already: two records in a row would be no JSON. */
function printJsonError(error: { readonly [part: string]: string }): void {
  if (!isPrinted) console.log(JSON.stringify({ error }, null, 2));
}

function internalError(thrown: unknown): BlockscaleError {
  const place = thrown instanceof Error ? thrown.stack?.match(/^ +at .*$/m)?.[0].trim() : undefined;
  return new BlockscaleError("internal", {
    where: "blockscale",
    expected: "no failure of this program itself",
    got: `${thrown}${place === undefined ? "" : ` ${place}`}`,
    fix: "Please report it with the command that was given.",
  });
}
