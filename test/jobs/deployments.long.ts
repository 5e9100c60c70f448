import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parseAllDocuments, parseDocument } from "yaml";
import { blockscale, CLI, expectSameFiles, workplace } from "../support/cli-runner.ts";

const { makeModel, output } = workplace();

const example = (name: string) => readFileSync(new URL(`../examples/${name}`, import.meta.url), "utf8");

/** The shell command of a container, with our build in the place of the published package. */
function shellOf(command: readonly string[]): string {
  expect(command.slice(0, 2)).toEqual(["sh", "-c"]);
  return command[2]!.replace(/npx (--yes )?blockscale/, `"${process.execPath}" "${CLI}"`);
}

test("the Kubernetes jobs make the bytes of one machine", async () => {
  const documents = parseAllDocuments(example("kubernetes-job.yaml")).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS();
  });
  expect(documents.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
    "batch/v1 Job",
    "batch/v1 Job",
  ]);
  const [{ spec: parts }, { spec: finish }] = documents;
  expect([parts.completionMode, parts.completions]).toEqual(["Indexed", 8]);
  const [model, whole, out] = [await makeModel(5, 64), output(), output()];
  await blockscale("quantize", model, whole);
  const run = (spec: typeof parts, index: number) => {
    const { command } = spec.template.spec.containers[0];
    const shell = shellOf(command).replace("/data/model", model).replace("/data/out", out);
    return promisify(execFile)("sh", ["-c", shell], {
      env: { ...process.env, JOB_COMPLETION_INDEX: String(index) },
    });
  };
  await expect(run(finish, 0)).rejects.toThrow();
  for (let index = 0; index < parts.completions; index++) await run(parts, index);
  await run(finish, 0);
  expectSameFiles(out, whole);
});

test("the commands of the compose file are ours, and its services are there", async () => {
  const document = parseDocument(example("docker-compose.yaml"), { merge: true });
  expect(document.errors).toEqual([]);
  const { services, volumes } = document.toJS();
  expect(Object.keys(volumes)).toEqual(["objects"]);
  for (const { image, depends_on = [] } of Object.values<{ image: string; depends_on?: string[] }>(
    services,
  )) {
    expect(image).toMatch(/^[a-z/]+(:\d+)?$/);
    for (const name of depends_on) expect(services).toHaveProperty(name);
  }
  for (const name of ["worker", "quantize"]) {
    const shell = shellOf(services[name].command)
      .replace(/^npm install .* && exec /, "")
      .replace("redis://redis:6379", "redis://127.0.0.1:1");
    const env = { ...process.env, ...services[name].environment, AWS_ENDPOINT_URL: "http://127.0.0.1:1" };
    const failure = await promisify(execFile)("sh", ["-c", shell], { env }).catch((error) => error);
    // Words it does not know would end it with 2: here nothing but the network is missing.
    expect(failure.code, failure.stderr).toBe(1);
    expect(failure.stderr).toMatch(/^blockscale: (--queue|s3:\/\/models\/bf16)/m);
  }
});
