import { listFiles } from "@huggingface/hub";
import { PageError } from "./problem.ts";
import type { NamedSource } from "./protocol.ts";

const HUB = "https://huggingface.co";

/** Name and files of what a user typed. */
export interface Place {
  readonly name: string;
  readonly files: readonly NamedSource[];
}

/**
 * Finds the files of a place: the URL of a .safetensors file, or a repository of the model hub as owner/name,
 * owner/name@revision or by its address.
 * @throws PageError `network`
 */
export async function findPlace(typed: string): Promise<Place> {
  const place = typed.trim();
  const repository =
    /^(?:hf:)?([\w.-]+\/[\w.-]+)(?:@([^/]+))?$/.exec(place) ??
    /^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)\/?(?:tree\/([^/]+)\/?)?$/.exec(place);
  if (repository !== null) return findRepository(repository[1]!, repository[2] ?? "main");
  let url: URL;
  try {
    url = new URL(place);
  } catch (cause) {
    throw new PageError("network", `${JSON.stringify(place)} is no address.`, { cause });
  }
  // The page of a file on the hub stands for the file.
  if (url.origin === HUB) url.pathname = url.pathname.replace("/blob/", "/resolve/");
  const name = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
  return { name, files: [{ path: name, url: url.href }] };
}

async function findRepository(name: string, revision: string): Promise<Place> {
  const files: NamedSource[] = [];
  try {
    for await (const { type, path, size } of listFiles({ repo: name, revision, recursive: true })) {
      if (type !== "file" || size === 0 || path.split("/").some((part) => part.startsWith("."))) continue;
      const address = path.split("/").map(encodeURIComponent).join("/");
      files.push({ path, url: `${HUB}/${name}/resolve/${encodeURIComponent(revision)}/${address}` });
    }
  } catch (cause) {
    throw new PageError("network", `${name}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  return { name: name.split("/")[1]!, files };
}
