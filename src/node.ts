/**
 * What only Node, Deno and Bun can do: files on disk as sources and sinks.
 * @module
 */
export type { FileSource } from "./io/node.ts";
export { createFile, openFile } from "./io/node.ts";
export type { LocalInput } from "./io/node-folder.ts";
export { openFolder } from "./io/node-folder.ts";
