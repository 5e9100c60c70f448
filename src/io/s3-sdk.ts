import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { BlockscaleError } from "../tensor/errors.ts";

type Sdk = typeof import("@aws-sdk/client-s3");

/** The SDK of AWS, and a client of it. */
export interface OpenedClient {
  readonly sdk: Sdk;
  readonly client: S3Client;
}

let opened: Promise<OpenedClient> | undefined;

/**
 * The SDK and its client, made when the first address is used. Credentials, region and endpoint come from the
 * environment and the files in ~/.aws, as for every tool of AWS. Requests are tried again here and not by the
 * SDK, which does not see bodies that end early.
 * @throws BlockscaleError `option`: the package is missing, or no endpoint
 */
export function openClient(where: string): Promise<OpenedClient> {
  opened ??= start(where);
  return opened;
}

async function start(where: string): Promise<OpenedClient> {
  // The warning that it turns off would be printed by every command, and by every thread of it.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const sdk = await import("@aws-sdk/client-s3").catch((cause) => {
    throw new BlockscaleError(
      "option",
      {
        where,
        expected: "the package @aws-sdk/client-s3",
        got: "none, or another",
        fix: "Install it: npm install @aws-sdk/client-s3.",
      },
      { cause },
    );
  });
  checkEndpoints();
  const make = (more: S3ClientConfig): S3Client =>
    new sdk.S3Client({
      maxAttempts: 1,
      followRegionRedirects: true,
      // Other servers than AWS do not know the newer checksums; bodies are covered by the signature.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      ...more,
    });
  const region = process.env.AWS_REGION ? undefined : process.env.AWS_DEFAULT_REGION || undefined;
  const found: S3ClientConfig = region === undefined ? {} : { region };
  const hasRegion = await make(found)
    .config.region()
    .then(
      () => true,
      () => false,
    );
  const settings = hasRegion ? found : { region: "us-east-1" };
  // An endpoint of one's own serves its buckets under paths.
  // Where settings give no endpoint, each request fails as well, with an error that holds no secrets.
  const host = await endpointOf(sdk, make({ ...settings, credentials: NOBODY })).catch(() => undefined);
  const forcePathStyle = host !== undefined && !/(^|\.)amazonaws\.com(\.cn)?$/.test(host);
  return { sdk, client: make({ ...settings, forcePathStyle }) };
}

/** @throws BlockscaleError `option`: an endpoint of the environment that is no address */
function checkEndpoints(): void {
  for (const name of ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
    const value = process.env[name];
    if (!value || (URL.canParse(value) && /^https?:\/\/[^@]*$/i.test(value))) continue;
    throw new BlockscaleError("option", {
      where: name,
      expected: "an address that begins with https:// or http://, without a password",
      got: "another form",
      fix: "Write it as https://s3.example.org; keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    });
  }
}

/** Credentials of a request that is never sent. */
const NOBODY = { accessKeyId: "none", secretAccessKey: "none" };

/**
 * The host that a client sends requests to. The SDK finds it in the environment or in files, and tells only a
 * request: one is made that goes no further.
 */
async function endpointOf(sdk: Sdk, client: S3Client): Promise<string | undefined> {
  let host: string | undefined;
  client.middlewareStack.add(
    (_, context) => async () => {
      host = context.endpointV2?.url.hostname;
      return { output: { $metadata: {} }, response: {} };
    },
    { step: "build" },
  );
  await client.send(new sdk.ListBucketsCommand({}));
  return host;
}
