import { homedir } from "node:os";
import { join } from "node:path";
import { openUrl } from "../io/http.ts";
import { cachedModel, isWhole } from "../io/hub-cache.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** A hub of models: all in which it differs from others. */
interface Hub {
  /** What addresses begin with: `hf` of `hf:OWNER/NAME`. */
  readonly scheme: string;
  /** Its address. */
  readonly base: string;
  readonly revision: string;
  /**
   * Headers for the hub alone: Authorization or Cookie, which `openUrl` drops where the hub redirects to
   * another host.
   */
  readonly headers: { readonly [name: string]: string };
  /** The environment variable that holds a token for models that are not public. */
  readonly token: string;
  fileAt(name: string, revision: string, path: string): string;
  /** Paths of all files that have bytes. */
  list(name: string, revision: string, signal?: AbortSignal): Promise<string[]>;
  /** The folder of a model on this machine, where all of it is there. */
  cached(name: string, revision: string): Promise<string | null>;
}

function huggingFace(): Hub {
  const { HF_TOKEN: token, HF_ENDPOINT } = process.env;
  const base = HF_ENDPOINT ?? "https://huggingface.co";
  return {
    scheme: "hf",
    base,
    revision: "main",
    headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    token: "HF_TOKEN",
    fileAt: (name, revision, path) =>
      `${base}/${name}/resolve/${encodeURIComponent(revision)}/${path.split("/").map(encodeURIComponent).join("/")}`,
    async list(name, revision, signal) {
      const { listFiles } = await import("@huggingface/hub");
      const credentials = token === undefined ? {} : { accessToken: token };
      const fetchWith: typeof fetch = (url, init) => fetch(url, { ...init, signal: signal ?? null });
      const found = listFiles({
        repo: name,
        revision,
        recursive: true,
        hubUrl: base,
        fetch: fetchWith,
        ...credentials,
      });
      const paths: string[] = [];
      for await (const { type, path, size } of found) if (type === "file" && size > 0) paths.push(path);
      return paths;
    },
    cached: cachedModel,
  };
}

/**
 * ModelScope's addresses are those of its own Python package (modelscope/hub/api.py and file_download.py).
 */
function modelScope(): Hub {
  const { MODELSCOPE_API_TOKEN: token, MODELSCOPE_DOMAIN: domain = "www.modelscope.cn" } = process.env;
  const base = /^https?:\/\//.test(domain) ? domain : `https://${domain}`;
  const headers: Hub["headers"] = token === undefined ? {} : { Cookie: `m_session_id=${token}` };
  return {
    scheme: "ms",
    base,
    revision: "master",
    headers,
    token: "MODELSCOPE_API_TOKEN",
    fileAt: (name, revision, path) =>
      `${base}/api/v1/models/${name}/repo?${new URLSearchParams({ Revision: revision, FilePath: path })}`,
    async list(name, revision, signal) {
      const query = new URLSearchParams({ Revision: revision, Recursive: "true" });
      const response = await fetch(`${base}/api/v1/models/${name}/repo/files?${query}`, {
        headers,
        signal: signal ?? null,
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const { Data: data, Message: message } = (await response.json()) as {
        Data?: { Files?: { Path: string; Type: string; Size: number }[] };
        Message?: string;
      };
      if (!Array.isArray(data?.Files)) throw new Error(message ?? "an answer without a list of files");
      return data.Files.filter(({ Type, Size }) => Type === "blob" && Size > 0).map(({ Path }) => Path);
    },
    async cached(name, revision) {
      // It keeps one revision of a model, and does not say which.
      if (revision !== "master") return null;
      const cache = process.env.MODELSCOPE_CACHE ?? join(homedir(), ".cache", "modelscope", "hub");
      const [owner, model] = name.replaceAll(".", "___").split("/") as [string, string];
      for (const folder of [join(cache, "models", owner, model), join(cache, owner, model)])
        if (await isWhole(folder)) return folder;
      return null;
    },
  };
}

/** A model on a hub. */
export interface Repository {
  readonly hub: Hub;
  readonly name: string;
  readonly revision: string;
}

const hubs = (): Hub[] => [huggingFace(), modelScope()];

/** hf:OWNER/NAME or ms:OWNER/NAME, each with @REVISION or without; or the address of a model's page. */
export function repositoryOf(place: string): Repository | null {
  for (const hub of hubs()) {
    const base = hub.base.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const page =
      hub.scheme === "ms"
        ? `^${base}/models/([\\w.-]+/[\\w.-]+)/?(?:summary|files)?$`
        : `^${base}/([\\w.-]+/[\\w.-]+)/?(?:tree/([^/]+)/?)?$`;
    const match =
      new RegExp(`^${hub.scheme}:([\\w.-]+/[\\w.-]+)(?:@(.+))?$`).exec(place) ?? new RegExp(page).exec(place);
    if (match !== null) return { hub, name: match[1]!, revision: match[2] ?? hub.revision };
  }
  return null;
}

/** Headers for a plain address, which may be one of a hub. A token is for its hub alone. */
export function headersFor(url: string): Hub["headers"] {
  return hubs().find(({ base }) => url.startsWith(`${base}/`))?.headers ?? {};
}

/**
 * All files of a model on a hub, by name.
 * @throws BlockscaleError `io`
 */
export async function openRepository(
  place: string,
  { hub, name, revision }: Repository,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Source>> {
  const files = new Map<string, Source>();
  for (const path of await listRepository(place, { hub, name, revision }, signal)) {
    if (path.split("/").some((part) => part.startsWith("."))) continue;
    files.set(
      path,
      await openUrl(hub.fileAt(name, revision, path), { headers: hub.headers, ...(signal && { signal }) }),
    );
  }
  return files;
}

async function listRepository(
  place: string,
  { hub, name, revision }: Repository,
  signal?: AbortSignal,
): Promise<string[]> {
  try {
    return await hub.list(name, revision, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new BlockscaleError(
      "io",
      {
        where: place,
        expected: `the model ${name} on ${hub.base}`,
        got: cause instanceof Error ? cause.message : String(cause),
        fix: `Check the name; set ${hub.token} for models that are not public.`,
      },
      { cause },
    );
  }
}
