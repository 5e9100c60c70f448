import { BlockscaleError } from "../tensor/errors.ts";

/** The index of a checkpoint in several files: which file holds which tensor. */
export interface ShardIndex {
  /** The index's other metadata, such as total_size. */
  readonly metadata: { readonly [key: string]: unknown };
  /** File by tensor. */
  readonly weightMap: ReadonlyMap<string, string>;
}

function refuse(where: string, expected: string, got: string): never {
  throw new BlockscaleError("format", {
    where,
    expected,
    got,
    fix: "The index is damaged or was made to do harm: fetch the checkpoint again.",
  });
}

/**
 * Parses `model.safetensors.index.json`.
 * @throws BlockscaleError `format`: no such index, or a file name that leads out of the folder
 */
export function parseIndex(where: string, text: string): ShardIndex {
  let json: { metadata?: unknown; weight_map?: unknown } | null;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    return refuse(where, "JSON", (cause as Error).message);
  }
  const isRecord = (value: unknown): value is { [key: string]: unknown } =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isRecord(json) || !isRecord(json.weight_map))
    return refuse(where, "an object with a weight_map", "another");
  const weightMap = new Map<string, string>();
  const checked = new Set<string>();
  for (const [tensor, file] of Object.entries(json.weight_map)) {
    if (typeof file !== "string") return refuse(where, "file names as text", typeof file);
    // A large model names each of its files thousands of times.
    if (!checked.has(file)) checked.add(checkShardName(where, file));
    weightMap.set(tensor, file);
  }
  if (weightMap.size === 0) return refuse(where, "a weight_map that names the file of each tensor", "none");
  const metadata = isRecord(json.metadata) ? json.metadata : {};
  try {
    // The metadata is written again later, and JSON.stringify fails at depths that JSON.parse accepts.
    JSON.stringify(metadata);
  } catch {
    return refuse(where, "metadata of a few levels", "some nested too deep");
  }
  return { metadata, weightMap };
}

/** The longest file name that is accepted, in characters. */
const LONGEST = 1000;

/**
 * A shard's name, unless it could lead out of the folder or mean something else to a server: no `..`, also
 * not percent-encoded once or many times, no absolute path, no backslash, no control character.
 * @throws BlockscaleError `format`
 */
function checkShardName(where: string, name: string): string {
  const expected = "the name of a .safetensors file inside the folder";
  const plain = decoded(name);
  const isUnsafe = (text: string) =>
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    /[\\\u0000-\u001f\u007f:?#]/.test(text) ||
    text.split("/").some((part) => part === "" || part === "." || part === "..");
  const isLong = name.length > LONGEST;
  if (isLong || isUnsafe(name) || plain === null || isUnsafe(plain) || !name.endsWith(".safetensors")) {
    refuse(where, expected, JSON.stringify(name.slice(0, 200)));
  }
  return name;
}

/** A name without percent-encoding; `null` where it is encoded so often that it must be an attack. */
function decoded(name: string): string | null {
  let plain = name;
  for (let times = 0; times < 4; times++) {
    const before = plain;
    try {
      plain = decodeURIComponent(plain);
    } catch {
      return plain;
    }
    if (plain === before) return plain;
  }
  return null;
}

/** The index of a checkpoint as text: keys sorted, with the right total_size. */
export function serializeIndex(index: ShardIndex, totalSize: number): string {
  // Put together by hand: an object would move names that look like numbers, and lose __proto__.
  const weights = [...index.weightMap].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const lines = weights.map(([tensor, file]) => `    ${JSON.stringify(tensor)}: ${JSON.stringify(file)}`);
  const metadata = JSON.stringify({ ...index.metadata, total_size: totalSize }, null, 2).replaceAll(
    "\n",
    "\n  ",
  );
  const map = lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`;
  return `{\n  "metadata": ${metadata},\n  "weight_map": ${map}\n}\n`;
}
