import { readdirSync, readFileSync } from "node:fs";

/** The folder of the checkout. */
export const ROOT: URL = new URL("../../", import.meta.url);

/** TypeScript files under a folder, as paths from it. */
export function filesOf(folder: string): string[] {
  return readdirSync(new URL(`${folder}/`, ROOT), { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => /\.tsx?$/.test(path))
    .sort();
}

/** The text of a file in a folder. */
export function textOf(folder: string, file: string): string {
  return readFileSync(new URL(`${folder}/${file}`, ROOT), "utf8");
}

/** "file:line: text" of every line, comments aside, that a pattern matches. */
export function linesMatching(folder: string, pattern: RegExp): string[] {
  return filesOf(folder).flatMap((file) =>
    withoutComments(textOf(folder, file))
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${folder}/${file}:${i + 1}: ${line.trim()}`] : [])),
  );
}

/** A text with every comment blanked, lines kept. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, " "));
}
