import { createHash } from "node:crypto";
import { BlockscaleError } from "../tensor/errors.ts";
import type { RetryOptions } from "./retry.ts";
import { Bucket, type S3Object } from "./s3-client.ts";
import type { Source } from "./source.ts";

/** A place in object storage, `s3://bucket/key`. */
export interface S3Address {
  readonly bucket: string;
  /** Key of an object, or a prefix of keys; it neither begins nor ends with a slash. */
  readonly key: string;
}

/** An object as a source. Reads fail where it is no longer what it was when it was opened. */
export interface S3Source extends Source {
  readonly address: string;
  /** The object's ETag. */
  readonly tag: string;
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** Whether a place is in object storage. */
export function isS3(place: string): boolean {
  return /^s3:/i.test(place);
}

/** @throws BlockscaleError `option`: another form; what was given is not told, it may hold a password */
export function parseS3(address: string): S3Address {
  const match = /^s3:\/\/([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:\/+(.*?))?\/*$/is.exec(address);
  const key = match?.[2] ?? "";
  if (match !== null && isFileName(key === "" ? "x" : key)) return { bucket: match[1]!, key };
  throw new BlockscaleError("option", {
    where: "an address of s3",
    expected: "s3://BUCKET/PREFIX",
    got: "another form",
    fix: "Write it as s3://models/DeepSeek-V3.1; keys and passwords have no place in it.",
  });
}

/**
 * Whether a key can be the name of a file: no part between slashes that is empty, `.` or `..`, no control
 * character, no backslash. Keys come from strangers, and become names of files elsewhere.
 */
function isFileName(key: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return !/[\u0000-\u001f\u007f\\]/.test(key) && key.split("/").every((part) => !/^\.{0,2}$/.test(part));
}

/**
 * Opens an object.
 * @throws BlockscaleError `io`: none there, or no access
 */
export async function openS3(address: string, options: RetryOptions = {}): Promise<S3Source> {
  const { bucket, key } = parseS3(address);
  const requests = new Bucket(bucket, options);
  const found = await requests.head(key);
  if (found === null) throw missing(address, "no such object, or no such bucket");
  return sourceOf(bucket, requests, found);
}

/**
 * The objects under a prefix by their names behind it. Names that
 * begin with a dot are left out, as in folders.
 * @throws BlockscaleError `io`: none there, or no access; `format`: a key that can be no file name
 */
export async function openS3Folder(
  address: string,
  options: RetryOptions = {},
): Promise<Map<string, S3Source>> {
  const { bucket } = parseS3(address);
  const requests = new Bucket(bucket, options);
  const files = new Map<string, S3Source>();
  for (const [name, object] of await list(address, requests)) {
    if (name.split("/").some((part) => part.startsWith("."))) continue;
    if (!isFileName(name)) {
      throw new BlockscaleError("format", {
        where: address,
        expected: "keys that can be names of files",
        got: JSON.stringify(object.key),
        fix: "Rename or remove this object.",
      });
    }
    files.set(name, sourceOf(bucket, requests, object));
  }
  if (files.size === 0) throw missing(address, "no object under it");
  return files;
}

/** Names behind a prefix, hidden ones too. */
export async function listS3(address: string): Promise<string[]> {
  const { bucket } = parseS3(address);
  return (await list(address, new Bucket(bucket))).map(([name]) => name);
}

async function list(address: string, requests: Bucket): Promise<[name: string, object: S3Object][]> {
  const { key } = parseS3(address);
  const prefix = key === "" ? "" : `${key}/`;
  const found = await requests.list(prefix);
  // Consoles mark folders by empty objects whose keys end in a slash.
  return found
    .map((object): [string, S3Object] => [object.key.slice(prefix.length), object])
    .filter(([name]) => name !== "" && !name.endsWith("/"));
}

/** A small object as text; `null` where there is none. */
export async function readS3Text(address: string): Promise<string | null> {
  const { bucket, key } = parseS3(address);
  const requests = new Bucket(bucket);
  const found = await requests.head(key);
  if (found === null) return null;
  const bytes = new Uint8Array(found.size);
  if (found.size > 0) await requests.read(found, 0, bytes);
  return new TextDecoder().decode(bytes);
}

export async function removeS3(address: string): Promise<void> {
  const { bucket, key } = parseS3(address);
  await new Bucket(bucket).remove(key);
}

function missing(where: string, got: string): BlockscaleError {
  return new BlockscaleError("io", {
    where,
    expected: "an object, or objects under this prefix",
    got,
    fix: "Check the address, and AWS_ENDPOINT_URL.",
  });
}

function sourceOf(bucket: string, requests: Bucket, object: S3Object): S3Source {
  const { key, size, tag } = object;
  const read = async (start: number, into: Uint8Array) => {
    if (into.length > 0) await requests.read(object, start, into);
    return into.length;
  };
  return {
    address: `s3://${bucket}/${key}`,
    size,
    tag,
    slice: (start, end) => ({
      arrayBuffer: async () => {
        const bytes = new Uint8Array(Math.max(0, Math.min(size, end) - start));
        await read(start, bytes);
        return bytes.buffer;
      },
    }),
    read: (start, into) => read(start, into.subarray(0, Math.max(0, size - start))),
    checkUnchanged: async () => {
      const now = await requests.head(key);
      if (now?.size !== size || now.tag !== tag) throw requests.changed(key);
    },
    close: async () => {},
  };
}

/**
 * Bytes of a part, more where an object would have too many parts; most parts of an object; and parts sent at
 * once. An upload holds these in memory, and the one that is filled next.
 */
const PART = 8 << 20;
const MOST_PARTS = 10_000;
const AT_ONCE = 3;

/**
 * A stream into an object that appears only when it is whole: a small one in one request, others in parts.
 * Aborted or failed, it leaves nothing that could be seen.
 * @param size of the object, if known: parts are larger where 10,000 would not do
 * @param beforeVisible called when every byte is stored; the object appears when it is done
 * @throws BlockscaleError `io`
 */
export function createS3(
  address: string,
  size = 0,
  beforeVisible?: () => Promise<void>,
  options: RetryOptions = {},
): WritableStream<Uint8Array> {
  const { bucket, key } = parseS3(address);
  const upload = new Upload(new Bucket(bucket, options), key, Math.max(PART, Math.ceil(size / MOST_PARTS)));
  const guard = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      await upload.abort();
      throw error;
    }
  };
  return new WritableStream({
    write: (chunk) => guard(() => upload.write(chunk)),
    close: () => guard(() => upload.close(beforeVisible)),
    abort: () => upload.abort(),
  });
}

class Upload {
  readonly #requests: Bucket;
  readonly #key: string;
  readonly #partSize: number;
  #part: Uint8Array;
  #filled = 0;
  #size = 0;
  #id: string | null = null;
  readonly #tags: string[] = [];
  #parts = 0;
  readonly #underWay = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | null = null;

  constructor(requests: Bucket, key: string, partSize: number) {
    this.#requests = requests;
    this.#key = key;
    this.#partSize = partSize;
    this.#part = new Uint8Array(partSize);
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    for (let done = 0; done < chunk.length; ) {
      if (this.#filled === this.#partSize) await this.#send();
      const n = Math.min(chunk.length - done, this.#partSize - this.#filled);
      this.#part.set(chunk.subarray(done, done + n), this.#filled);
      this.#filled += n;
      done += n;
    }
  }

  async close(beforeVisible?: () => Promise<void>): Promise<void> {
    const last = this.#part.subarray(0, this.#filled);
    if (this.#id === null) {
      await beforeVisible?.();
      return this.#requests.put(this.#key, last);
    }
    await this.#send();
    await Promise.all(this.#underWay);
    if (this.#failure !== null) throw this.#failure.error;
    await beforeVisible?.();
    const whole = createHash("md5");
    for (const tag of this.#tags) whole.update(Buffer.from(tag.replaceAll('"', ""), "hex"));
    const tag = `${whole.digest("hex")}-${this.#tags.length}`;
    await this.#requests.completeUpload(this.#key, this.#id, this.#tags, tag, this.#size);
  }

  async abort(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#id !== null) await this.#requests.abortUpload(this.#key, this.#id);
    this.#id = null;
  }

  /** Sends what is filled, and waits while too much is under way. */
  async #send(): Promise<void> {
    this.#id ??= await this.#requests.beginUpload(this.#key);
    const id = this.#id;
    const body = this.#part.subarray(0, this.#filled);
    const i = this.#parts++;
    this.#part = new Uint8Array(this.#partSize);
    this.#filled = 0;
    const sent: Promise<void> = this.#requests
      .uploadPart(this.#key, id, i + 1, body)
      .then(
        (tag) => {
          this.#tags[i] = tag;
        },
        (error) => {
          this.#failure ??= { error };
        },
      )
      .finally(() => this.#underWay.delete(sent));
    this.#underWay.add(sent);
    if (this.#underWay.size >= AT_ONCE) await Promise.race(this.#underWay);
    if (this.#failure !== null) throw this.#failure.error;
  }
}
