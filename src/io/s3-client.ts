import { BlockscaleError } from "../tensor/errors.ts";
import { attempt, type RetryOptions, TransientError } from "./retry.ts";
import { faultOf, httpStatusOf, isTransient, nameOf, reasonOf } from "./s3-errors.ts";
import { type OpenedClient, openClient } from "./s3-sdk.ts";

/** An object of a bucket, as a listing or HEAD tells it. */
export interface S3Object {
  readonly key: string;
  /** Size of the object in bytes. */
  readonly size: number;
  /** The ETag: another one means other contents. */
  readonly tag: string;
}

/** Requests to one bucket: tried again where that may help, and failing with errors that hold no secrets. */
export class Bucket {
  readonly #name: string;
  readonly #options: RetryOptions;

  constructor(name: string, options: RetryOptions = {}) {
    this.#name = name;
    this.#options = options;
  }

  /** Objects whose keys begin with a prefix, in the order of their keys. */
  async list(prefix: string): Promise<S3Object[]> {
    const found: S3Object[] = [];
    let token: string | undefined;
    do {
      const page = await this.#request(prefix, ({ sdk, client }, abortSignal) =>
        client.send(
          new sdk.ListObjectsV2Command({ Bucket: this.#name, Prefix: prefix, ContinuationToken: token }),
          { abortSignal },
        ),
      );
      for (const { Key: key, Size: size, ETag: tag } of page.Contents ?? [])
        if (key !== undefined && size !== undefined) found.push({ key, size, tag: tag ?? "" });
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return found;
  }

  /** `null` where there is no such object. */
  head(key: string): Promise<S3Object | null> {
    return this.#request(key, async ({ sdk, client }, abortSignal) => {
      try {
        const found = await client.send(new sdk.HeadObjectCommand({ Bucket: this.#name, Key: key }), {
          abortSignal,
        });
        return { key, size: found.ContentLength ?? 0, tag: found.ETag ?? "" };
      } catch (cause) {
        // HEAD has no body to tell a bucket from a key.
        if (httpStatusOf(cause) === 404) return null;
        throw cause;
      }
    });
  }

  /**
   * Fills an array with bytes of an object.
   * @throws BlockscaleError `io`; also where the object is not the one that was listed
   */
  read({ key, tag, size }: S3Object, start: number, into: Uint8Array): Promise<void> {
    const end = start + into.length;
    return this.#request(key, async ({ sdk, client }, abortSignal) => {
      const Range = `bytes=${start}-${end - 1}`;
      const answer = await client.send(
        new sdk.GetObjectCommand({ Bucket: this.#name, Key: key, Range, IfMatch: tag || undefined }),
        { abortSignal },
      );
      const body = answer.Body as (AsyncIterable<Uint8Array> & { destroy(): void }) | undefined;
      // Not all servers heed If-Match.
      if (tag !== "" && answer.ETag !== undefined && answer.ETag !== tag) {
        body?.destroy();
        throw this.changed(key);
      }
      if (answer.ContentRange !== `bytes ${start}-${end - 1}/${size}`) {
        body?.destroy();
        throw new TransientError(`Content-Range ${answer.ContentRange} for bytes ${start}-${end - 1}`);
      }
      let done = 0;
      const stop = () => body?.destroy();
      abortSignal.addEventListener("abort", stop);
      try {
        for await (const chunk of body ?? []) {
          if (done + chunk.length > into.length) throw new TransientError(`more than ${into.length} bytes`);
          into.set(chunk, done);
          done += chunk.length;
        }
      } finally {
        abortSignal.removeEventListener("abort", stop);
      }
      if (done !== into.length) throw new TransientError(`${done} of ${into.length} bytes`);
    });
  }

  /** Writes a small object in one request. */
  async put(key: string, body: Uint8Array): Promise<void> {
    await this.#request(key, ({ sdk, client }, abortSignal) =>
      client.send(
        new sdk.PutObjectCommand({
          Bucket: this.#name,
          Key: key,
          Body: body,
          ContentLength: body.length,
        }),
        { abortSignal },
      ),
    );
  }

  async remove(key: string): Promise<void> {
    await this.#request(key, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.DeleteObjectCommand({ Bucket: this.#name, Key: key }), { abortSignal }),
    );
  }

  /** Begins an object of several parts. @returns the id of the upload */
  async beginUpload(key: string): Promise<string> {
    const { UploadId } = await this.#request(key, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.CreateMultipartUploadCommand({ Bucket: this.#name, Key: key }), { abortSignal }),
    );
    return UploadId!;
  }

  /** @param number from 1 on. @returns its ETag */
  async uploadPart(key: string, UploadId: string, number: number, body: Uint8Array): Promise<string> {
    const { ETag } = await this.#request(key, ({ sdk, client }, abortSignal) =>
      client.send(
        new sdk.UploadPartCommand({
          Bucket: this.#name,
          Key: key,
          UploadId,
          PartNumber: number,
          Body: body,
          ContentLength: body.length,
        }),
        { abortSignal },
      ),
    );
    return ETag ?? "";
  }

  /**
   * Makes the object visible. If the answer got lost, the upload may be complete: it is, if the object
   * has the right size and another ETag than before.
   * @param whole the ETag that the object will have on servers that do as AWS does
   */
  async completeUpload(
    key: string,
    UploadId: string,
    tags: readonly string[],
    whole: string,
    size: number,
  ): Promise<void> {
    const before = await this.head(key);
    const Parts = tags.map((ETag, i) => ({ ETag, PartNumber: i + 1 }));
    await this.#request(key, async ({ sdk, client }, abortSignal) => {
      try {
        await client.send(
          new sdk.CompleteMultipartUploadCommand({
            Bucket: this.#name,
            Key: key,
            UploadId,
            MultipartUpload: { Parts },
          }),
          { abortSignal },
        );
      } catch (cause) {
        const found = await this.head(key).catch(() => null);
        const isOurs = found?.tag !== before?.tag || found?.tag.replaceAll('"', "") === whole;
        if (found?.size === size && isOurs) return;
        throw cause;
      }
    });
  }

  /** Never fails: a lifecycle rule of the bucket removes what is left. */
  async abortUpload(key: string, UploadId: string): Promise<void> {
    const options = { ...this.#options, signal: undefined, tries: 2 };
    await new Bucket(this.#name, options)
      .#request(key, ({ sdk, client }, abortSignal) =>
        client.send(new sdk.AbortMultipartUploadCommand({ Bucket: this.#name, Key: key, UploadId }), {
          abortSignal,
        }),
      )
      .catch(() => {});
  }

  /** The error for an object that changed while it was read: what was read is a mixture of two versions. */
  changed(key: string): BlockscaleError {
    return new BlockscaleError("io", {
      where: `s3://${this.#name}/${key}`,
      expected: "an input that stays as it is",
      got: "an object that changed while it was read",
      fix: "Wait until it is complete, then run the same command again.",
    });
  }

  async #request<T>(
    key: string,
    send: (opened: OpenedClient, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const where = `s3://${this.#name}/${key}`;
    const library = await openClient(where);
    return attempt(where, this.#options, async (signal) => {
      try {
        return await send(library, signal);
      } catch (cause) {
        if (cause instanceof BlockscaleError || cause instanceof TransientError) throw cause;
        if (isTransient(cause)) throw new TransientError(reasonOf(cause));
        if (nameOf(cause) === "PreconditionFailed" || httpStatusOf(cause) === 412) throw this.changed(key);
        // Without its cause: errors of the SDK hold the request, and with it signatures.
        throw faultOf(where, cause);
      }
    });
  }
}
