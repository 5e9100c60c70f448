import { openUrl } from "../io/http.ts";
import { cachedModel } from "../io/hub-cache.ts";
import { openLocal } from "../io/node-folder.ts";
import { isS3, openS3, openS3Folder } from "../io/s3.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** A checkpoint to read: on disk or on a server. */
export interface Input {
  readonly isFolder: boolean;
  readonly files: ReadonlyMap<string, Source>;
  close(): Promise<void>;
}

/**
 * Opens a path, an s3:// address, the URL of a .safetensors file, or a repository of the model hub by its URL or as hf:OWNER/NAME.
 * @throws BlockscaleError `io`; `option`: no URL
 */
export async function openInput(place: string, signal?: AbortSignal): Promise<Input> {
  const repository = repositoryOf(place);
  if (isS3(place)) return openObjects(place, signal);
  if (repository === null) refuseAddress(place);
  if (repository !== null) {
    const cached = await cachedModel(repository.name, repository.revision);
    return cached === null ? openRepository(place, repository, signal) : openLocal(cached);
  }
  if (!/^https?:\/\//i.test(place)) return openLocal(place);
  const name = nameInUrl(place);
  const source = await openUrl(place, { headers: authorization(place), signal });
  return { isFolder: false, files: new Map([[name, source]]), close: async () => {} };
}

/** A name that ends in .safetensors is an object; other addresses are prefixes, read like folders. */
async function openObjects(place: string, signal?: AbortSignal): Promise<Input> {
  const isFolder = !place.endsWith(".safetensors");
  const files = isFolder
    ? await openS3Folder(place, { signal })
    : new Map([[place.split("/").at(-1)!, await openS3(place, { signal })]]);
  return { isFolder, files, close: async () => {} };
}

/** Addresses that would be taken for paths: hf:NAME without an owner, and schemes that are not read. */
function refuseAddress(place: string): void {
  const isHub = /^hf:/i.test(place);
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(place)?.[1];
  if (!isHub && (scheme === undefined || /^https?$/i.test(scheme))) return;
  throw new BlockscaleError("option", {
    where: place,
    expected: isHub
      ? "hf:OWNER/NAME, or hf:OWNER/NAME@REVISION"
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

interface Repository {
  readonly name: string;
  readonly revision: string;
}

const HUB = process.env.HF_ENDPOINT ?? "https://huggingface.co";

/** hf:owner/name, hf:owner/name@revision, or the address of a repository's page. */
function repositoryOf(place: string): Repository | null {
  const base = HUB.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const match =
    /^hf:([\w.-]+\/[\w.-]+)(?:@(.+))?$/.exec(place) ??
    new RegExp(`^${base}/([\\w.-]+/[\\w.-]+)/?(?:tree/([^/]+)/?)?$`).exec(place);
  return match === null ? null : { name: match[1]!, revision: match[2] ?? "main" };
}

/** A token is for the hub alone: the fetch standard drops it where the hub redirects to another host. */
function authorization(url: string): { readonly [name: string]: string } {
  const token = process.env.HF_TOKEN;
  return token !== undefined && url.startsWith(`${HUB}/`) ? { Authorization: `Bearer ${token}` } : {};
}

async function openRepository(
  place: string,
  { name, revision }: Repository,
  signal?: AbortSignal,
): Promise<Input> {
  const options = { headers: authorization(`${HUB}/`), signal };
  const files = new Map<string, Source>();
  for (const path of await listRepository(place, name, revision, signal)) {
    if (path.split("/").some((part) => part.startsWith("."))) continue;
    const address = path.split("/").map(encodeURIComponent).join("/");
    files.set(
      path,
      await openUrl(`${HUB}/${name}/resolve/${encodeURIComponent(revision)}/${address}`, options),
    );
  }
  return { isFolder: true, files, close: async () => {} };
}

async function listRepository(
  place: string,
  name: string,
  revision: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const { listFiles } = await import("@huggingface/hub");
  const paths: string[] = [];
  try {
    const token = process.env.HF_TOKEN;
    const credentials = token === undefined ? {} : { accessToken: token };
    const fetchWith: typeof fetch = (url, init) => fetch(url, { ...init, signal: signal ?? null });
    for await (const { type, path, size } of listFiles({
      repo: name,
      revision,
      recursive: true,
      hubUrl: HUB,
      fetch: fetchWith,
      ...credentials,
    })) {
      if (type === "file" && size > 0) paths.push(path);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw new BlockscaleError(
      "io",
      {
        where: place,
        expected: `the model ${name} on ${HUB}`,
        got: cause instanceof Error ? cause.message : String(cause),
        fix: "Check the name; set HF_TOKEN for models that are not public.",
      },
      { cause },
    );
  }
  return paths;
}
