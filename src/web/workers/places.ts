import { listFiles } from "@huggingface/hub";
import { PageError } from "./problem.ts";
import type { NamedSource } from "./protocol.ts";

const HUB = "https://huggingface.co";

/** Name and files of what a user typed. */
export interface NamedFiles {
  readonly name: string;
  readonly files: readonly NamedSource[];
}

/**
 * Finds the files of a place: the URL of a .safetensors file, or a repository of the model hub as owner/name,
 * owner/name@revision or by its address.
 * @param token for the hub alone; empty where there is none
 * @throws PageError `network`, `gated`, `missing`, `address`
 */
export async function findPlace(typed: string, token: string): Promise<NamedFiles> {
  const place = typed.trim();
  const repository =
    /^(?:hf:)?([\w.-]+\/[\w.-]+)(?:@([^/]+))?$/.exec(place) ??
    /^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)\/?(?:tree\/([^/]+)\/?)?$/.exec(place);
  if (repository !== null) return findRepository(repository[1]!, repository[2] ?? "main", token);
  let url: URL;
  try {
    url = new URL(place);
  } catch (cause) {
    throw new PageError("address", `${JSON.stringify(place)} is no address.`, { cause, facts: { place } });
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new PageError("address", `Browsers do not open ${url.protocol} addresses.`, { facts: { place } });
  }
  // The page of a file on the hub stands for the file.
  if (url.origin === HUB) url.pathname = url.pathname.replace("/blob/", "/resolve/");
  const name = decoded(url.pathname.split("/").at(-1) ?? "");
  return { name, files: [{ path: name, url: url.href, ...(url.origin === HUB && withToken(token)) }] };
}

const withToken = (token: string): { readonly token?: string } => (token === "" ? {} : { token });

/** A text without percent-encoding; as it is where a percent sign in it encodes nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function findRepository(name: string, revision: string, token: string): Promise<NamedFiles> {
  const files: NamedSource[] = [];
  try {
    for await (const { type, path, size } of listFiles({
      repo: name,
      revision,
      recursive: true,
      ...(token !== "" && { accessToken: token }),
    })) {
      if (type !== "file" || size === 0 || path.split("/").some((part) => part.startsWith("."))) continue;
      const address = path.split("/").map(encodeURIComponent).join("/");
      files.push({
        path,
        url: `${HUB}/${name}/resolve/${encodeURIComponent(revision)}/${address}`,
        ...withToken(token),
      });
    }
  } catch (cause) {
    const status = (cause as { statusCode?: number }).statusCode;
    // The hub also answers 401 for repositories that do not exist, so that nobody can find out which private
    // ones do.
    const kind = status === 401 || status === 403 ? "gated" : status === 404 ? "missing" : "network";
    const message = `${name}: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new PageError(kind, message, { cause, facts: { place: name } });
  }
  if (!files.some(({ path }) => path.endsWith(".safetensors"))) {
    throw new PageError("format", `${name} holds no .safetensors file.`, { facts: { place: name } });
  }
  return { name: name.split("/")[1]!, files };
}
