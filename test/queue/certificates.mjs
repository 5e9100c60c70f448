import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * An authority that nobody knows, and a certificate of a server that it vouches for.
 * @returns the authority's certificate, and the flags of redis-server
 */
export function makeCertificates(folder, host) {
  const at = join(folder, "tls");
  mkdirSync(at);
  const [ca, caKey, key, request, certificate, names] = [
    "ca.pem",
    "ca.key",
    "key.pem",
    "request.pem",
    "cert.pem",
    "names",
  ].map((name) => join(at, name));
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  writeFileSync(names, `subjectAltName=DNS:${host}\n`);
  const fresh = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
  openssl("req", "-x509", ...fresh, "-keyout", caKey, "-out", ca, "-subj", "/CN=authority of the test");
  openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", `/CN=${host}`);
  const signed = ["-CA", ca, "-CAkey", caKey, "-CAcreateserial", "-days", "2", "-extfile", names];
  openssl("x509", "-req", "-in", request, ...signed, "-out", certificate);
  const flags = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca];
  return { ca, flags: [...flags, "--tls-auth-clients", "no"] };
}
