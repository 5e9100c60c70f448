import { forEachOf } from "../io/concurrency.ts";
import { openUrl, type UrlSource } from "../io/http.ts";
import { readText, type Source } from "../io/source.ts";
import { parseIndex } from "../safetensors/shards.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { headersFor } from "./hubs.ts";

const INDEX = "model.safetensors.index.json";

/** Files that may lie beside the weights. A plain web server gives no list, so each name is tried. */
const OTHER_FILES = [
  "config.json",
  "generation_config.json",
  "hf_quant_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "chat_template.jinja",
  "preprocessor_config.json",
];

/** Requests at a time. */
const AT_ONCE = 8;

/**
 * Opens a checkpoint on a web server by the address of its index or of its folder, which holds an index or
 * one model.safetensors. @returns its files by name; `null` where the address is neither
 * @throws BlockscaleError `io`, `format`
 */
export async function openWebFolder(
  place: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Source> | null> {
  const url = new URL(place);
  const isIndex = url.pathname.endsWith(".safetensors.index.json");
  if (!isIndex && !url.pathname.endsWith("/")) url.pathname += "/";
  const addressOf = (name: string) => {
    const address = new URL(name.split("/").map(encodeURIComponent).join("/"), url);
    address.search = url.search;
    return address.href;
  };
  const open = (name: string) => openIfThere(addressOf(name), signal);
  const indexName = isIndex ? decodeURIComponent(url.pathname.split("/").at(-1)!) : INDEX;
  const index = await open(indexName);
  const files = new Map<string, Source>();
  const add = (names: Iterable<string>) =>
    forEachOf(names, AT_ONCE, async (name) => {
      const source = await open(name);
      if (source !== null) files.set(name, source);
    });
  if (index !== null) {
    const { weightMap } = parseIndex(indexName, await readText(indexName, index));
    files.set(indexName, index);
    await add(new Set(weightMap.values()));
  } else if (isIndex) {
    throw new BlockscaleError("io", {
      where: place,
      expected: "the index of a checkpoint",
      got: "status 404",
      fix: "Check the address.",
    });
  } else {
    await add(["model.safetensors"]);
    if (files.size === 0) return null;
  }
  await add(OTHER_FILES);
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A file on a server, or `null` where there is none of that name. */
async function openIfThere(url: string, signal?: AbortSignal): Promise<UrlSource | null> {
  try {
    return await openUrl(url, { headers: headersFor(url), ...(signal && { signal }) });
  } catch (error) {
    const got = error instanceof BlockscaleError ? error.fault.got : "";
    if (/^status (404|410|403)$/.test(got)) return null;
    throw error;
  }
}
