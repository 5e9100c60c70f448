import { dirname } from "node:path";
import { openUrl } from "../io/http.ts";
import { openLocal } from "../io/node-folder.ts";
import { isS3, openS3, openS3Folder } from "../io/s3.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { headersFor, openRepository, repositoryOf } from "./hubs.ts";
import { openWebFolder } from "./web-folder.ts";

/** A checkpoint to read: on disk or on a server. */
export interface Input {
  readonly isFolder: boolean;
  readonly files: ReadonlyMap<string, Source>;
  close(): Promise<void>;
}

const INDEX = /[^/\\]+\.safetensors\.index\.json$/;

/**
 * Opens a path, an s3:// address, the URL of a file, of an index or of a folder that has one, or a model of a
 * hub by its URL or as hf:OWNER/NAME or ms:OWNER/NAME. An index stands for its folder.
 * @throws BlockscaleError `io`; `option`: no URL
 */
export async function openInput(place: string, signal?: AbortSignal): Promise<Input> {
  if (isS3(place)) return openObjects(place, signal);
  const repository = repositoryOf(place);
  if (repository !== null) {
    const { hub, name, revision } = repository;
    const cached = await hub.cached(name, revision);
    return cached === null ? onServer(await openRepository(place, repository, signal)) : openLocal(cached);
  }
  refuseAddress(place);
  if (/^https?:\/\//i.test(place)) return openAddress(place, signal);
  return INDEX.test(place) ? openBesideIndex(place) : openLocal(place);
}

/** An input on a server: there is nothing to close. */
function onServer(files: ReadonlyMap<string, Source>, isFolder = true): Input {
  return { isFolder, files, close: async () => {} };
}

/** The folder of an index, without other indices in it. */
async function openBesideIndex(place: string): Promise<Input> {
  const input = await openLocal(dirname(place));
  const [name] = INDEX.exec(place)!;
  const files = [...input.files].filter(
    ([found]) => found === name || !INDEX.test(found) || found.includes("/"),
  );
  return { ...input, files: new Map(files) };
}

async function openAddress(place: string, signal?: AbortSignal): Promise<Input> {
  const name = nameInUrl(place);
  if (!name.endsWith(".safetensors")) {
    const files = await openWebFolder(place, signal);
    if (files !== null) return onServer(files);
  }
  const source = await openUrl(place, { headers: headersFor(place), ...(signal && { signal }) });
  return onServer(new Map([[name, source]]), false);
}

/** A name that ends in .safetensors is an object; other addresses are prefixes, read like folders. */
async function openObjects(place: string, signal?: AbortSignal): Promise<Input> {
  const isFolder = !place.endsWith(".safetensors");
  const files = isFolder
    ? await openS3Folder(place, { signal })
    : new Map([[place.split("/").at(-1)!, await openS3(place, { signal })]]);
  return onServer(files, isFolder);
}

/**
 * Refuses addresses that would be taken for paths: hf:NAME without an owner, and schemes that are not read.
 */
function refuseAddress(place: string): void {
  const isHub = /^(hf|ms):/i.test(place);
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(place)?.[1];
  if (!isHub && (scheme === undefined || /^https?$/i.test(scheme))) return;
  throw new BlockscaleError("option", {
    where: place,
    expected: isHub
      ? "hf:OWNER/NAME or ms:OWNER/NAME, with @REVISION or without"
      : "a path, or an address that begins with https:// or s3://",
    got: isHub ? "another form" : `an address of ${scheme}`,
    fix: isHub ? "Write it as hf:deepseek-ai/DeepSeek-V3.1, say." : "Download it, or give its https address.",
  });
}

function nameInUrl(place: string): string {
  try {
    return decodeURIComponent(new URL(place).pathname.split("/").at(-1) ?? "") || "file";
  } catch (cause) {
    throw new BlockscaleError("option", {
      where: place,
      expected: "the URL of a .safetensors file",
      got: (cause as Error).message,
      fix: "Correct the URL.",
    });
  }
}
