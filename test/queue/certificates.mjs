import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:https";
import { join } from "node:path";

/**
 * An authority that nobody knows, and a certificate of a server that it vouches for.
 * @returns files of the authority's certificate, of the server's, and of its key; and the flags of redis-server
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
  return { ca, certificate, key, flags: [...flags, "--tls-auth-clients", "no"] };
}

/**
 * Starts a server that speaks TLS, and passes requests on to one that does not.
 * @returns its port
 */
export async function startSecure({ certificate, key }, port) {
  const pair = { cert: readFileSync(certificate), key: readFileSync(key) };
  const server = createServer(pair, (incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const passed = request({ port, host: "127.0.0.1", method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(passed.on("error", () => outgoing.destroy()));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  server.unref();
  return server.address().port;
}
