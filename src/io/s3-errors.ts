import { BlockscaleError } from "../tensor/errors.ts";

// What errors of the AWS SDK mean.

/** The name of an error, or "". */
export function nameOf(cause: unknown): string {
  return cause instanceof Error ? cause.name : "";
}

/** The HTTP status that an error of the SDK came with. */
export function httpStatusOf(cause: unknown): number | undefined {
  return (cause as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

const TRANSIENT = new Set([
  "RequestTimeout",
  "RequestTimeTooSkewed",
  "SlowDown",
  "InternalError",
  "TimeoutError",
]);
/** Names of errors that another try does not cure, although no server has answered. */
const FINAL = new Set(["CredentialsProviderError", "EndpointError", "TokenProviderError"]);
/** Codes of Node for a server whose certificate is not trusted, or is that of another one. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|^ERR_TLS/;

function isUntrusted(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  return typeof code === "string" && CERTIFICATE.test(code);
}

/** Whether another try may succeed. */
export function isTransient(cause: unknown): boolean {
  if (FINAL.has(nameOf(cause)) || isUntrusted(cause)) return false;
  const status = httpStatusOf(cause);
  return (
    TRANSIENT.has(nameOf(cause)) || status === undefined || status === 408 || status === 429 || status >= 500
  );
}

/** The name of an error and its status or code: messages of servers may hold anything, keys too. */
export function reasonOf(cause: unknown): string {
  const { code } = cause as { code?: unknown };
  const status = httpStatusOf(cause);
  const name = nameOf(cause) === "Error" ? "" : nameOf(cause);
  return [name, typeof code === "string" ? code : "", status === undefined ? "" : `status ${status}`]
    .filter((part, i, all) => part !== "" && all.indexOf(part) === i)
    .join(", ");
}

/** The error for people, without the secrets that errors of the SDK hold. */
export function faultOf(where: string, cause: unknown): BlockscaleError {
  const name = nameOf(cause);
  const status = httpStatusOf(cause);
  const fault = (got: string, fix: string) =>
    new BlockscaleError("io", { where, expected: "object storage that answers", got, fix });
  if (name === "CredentialsProviderError" || name === "TokenProviderError")
    return fault(
      "no credentials",
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with a profile of ~/.aws/credentials.",
    );
  if (isUntrusted(cause))
    return fault(
      `a certificate that is not trusted: ${reasonOf(cause)}`,
      "Check AWS_ENDPOINT_URL. NODE_EXTRA_CA_CERTS names the file of an authority of your own.",
    );
  if (name === "NoSuchBucket") return fault("no such bucket", "Check the name, and AWS_ENDPOINT_URL.");
  if (name === "NoSuchKey" || status === 404) return fault("no such object", "Check the address.");
  if (name === "SignatureDoesNotMatch" || name === "InvalidAccessKeyId")
    return fault(
      `credentials that are refused: ${name}`,
      "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE.",
    );
  if (status === 401 || status === 403)
    return fault(`access denied: ${reasonOf(cause)}`, "Check the rights of these credentials.");
  return fault(reasonOf(cause) || "an unknown failure", "Check the address, region and endpoint.");
}
