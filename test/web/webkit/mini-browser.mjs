// WebKitGTK's own small browser: a normal window steered by a script in the page, or one started by WebKitWebDriver.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../support/free-port.mjs";
import { withFront } from "../front.mjs";

/** What Safari has switched on and WebKitGTK has not: the origin private file system. */
export const STORAGE = [
  "FileSystem",
  "AccessHandle",
  "FileSystemWritableStream",
  "StorageAPI",
  "StorageAPIEstimate",
];

function miniBrowser() {
  const files = execFileSync("dpkg", ["-L", "libwebkit2gtk-4.1-0"], { encoding: "utf8" });
  return /^\/.*\/MiniBrowser$/m.exec(files)[0];
}

const featureList = (features) =>
  features.length === 0 ? [] : [`--features=${features.map((name) => `+${name}`).join(",")}`];

/**
 * Runs `body` while a program runs on a screen that nobody sees, in a home
 * of its own; ends it with all its children.
 */
async function withProgram(program, args, body) {
  const home = mkdtempSync(join(tmpdir(), "blockscale-webkit-"));
  mkdirSync(join(home, "Downloads"));
  mkdirSync(join(home, ".config"));
  writeFileSync(join(home, ".config/user-dirs.dirs"), 'XDG_DOWNLOAD_DIR="$HOME/Downloads"\n');
  const child = spawn("xvfb-run", ["-a", program, ...args], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
    // Without a language, as in many a container: the page has to come up there too.
    env: {
      ...process.env,
      HOME: home,
      LC_ALL: "C",
      XDG_CONFIG_HOME: "",
      XDG_DATA_HOME: "",
      XDG_CACHE_HOME: "",
    },
  });
  let log = "";
  child.stderr.on("data", (text) => {
    log += text;
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const failed = ended.then((code) => {
    throw new Error(`${program} ended with ${code}: ${log.slice(-1000)}`);
  });
  failed.catch(() => {});
  try {
    return await Promise.race([body(home), failed]);
  } finally {
    if (child.exitCode === null) process.kill(-child.pid, "SIGTERM");
    const timer = setTimeout(() => process.kill(-child.pid, "SIGKILL"), 3000);
    await ended;
    clearTimeout(timer);
    rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** Waits until something is so in the page. */
export async function until(page, condition, ...args) {
  const end = Date.now() + 30_000;
  while (!(await page.evaluate(condition, ...args))) {
    if (Date.now() > end) {
      const shown = await page.evaluate(() => document.body.textContent);
      throw new Error(`waited in vain for ${condition}; the page shows: ${shown}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A page that has been loaded may have nothing to show yet. */
const isDrawn = () => document.querySelector("main h1") !== null;

/** Text of a request. */
async function textOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

/**
 * Steps for a page to do: each is a module that the page asks for, since its policy forbids to evaluate text.
 */
class Steps {
  #count = 0;
  #waiting = [];
  #asked = [];
  #open = new Map();

  /** Does something in the page. @returns what it gives */
  evaluate(step, ...args) {
    const id = this.#count++;
    const text = `export const id = ${id};\nexport const step = () => (${step})(...${JSON.stringify(args)});\n`;
    const result = new Promise((resolve, reject) => this.#open.set(id, { resolve, reject }));
    const response = this.#asked.shift();
    if (response === undefined) this.#waiting.push(text);
    else send(response, text);
    return result;
  }

  ask(response) {
    const text = this.#waiting.shift();
    if (text === undefined) this.#asked.push(response);
    else send(response, text);
  }

  report({ id, value, error, errors }) {
    const { resolve, reject } = this.#open.get(id) ?? this.#open.values().next().value;
    this.#open.delete(id);
    if (error !== undefined || errors.length > 0) reject(new Error(error ?? `the page complains: ${errors}`));
    else resolve(value);
  }
}

function send(response, text) {
  response.writeHead(200, { "content-type": "text/javascript", "cache-control": "no-store" }).end(text);
}

/** Before the page's own script, whose errors it is to hear. */
const SCRIPT = '<script type="module" src="steer/steer.js" async></script>';

/**
 * Opens the page in a normal window of WebKitGTK.
 * @param files what the page may fetch as inputs/0, inputs/1 ...
 * @param worker code to put in front of the main worker's
 * @param body takes the page, which can `evaluate`, and the folder of downloads
 */
export function withWindow(env, { features = [], files = [], worker = "" }, body) {
  const steps = new Steps();
  const answer = (request, response) => {
    const { pathname } = new URL(request.url, "http://host");
    const [, input] = /^\/inputs\/(\d+)$/.exec(pathname) ?? [];
    if (input !== undefined) response.end(readFileSync(files[input]));
    else if (pathname === "/steer/steer.js")
      send(response, readFileSync(new URL("steer.js", import.meta.url)));
    else if (pathname === "/steer/next.js") steps.ask(response);
    else if (pathname === "/steer/report") {
      textOf(request).then((text) => {
        response.end();
        steps.report(JSON.parse(text));
      });
    } else return false;
    return true;
  };
  const change = (path, bytes) => {
    if (path === "/") return bytes.toString().replace("<title>", `${SCRIPT}$&`);
    return path === "/coordinator.js" ? `${worker}\n${bytes}` : bytes;
  };
  return withFront(env, { answer, change }, (url) =>
    withProgram(miniBrowser(), [...featureList(features), url], async (home) => {
      await until(steps, isDrawn);
      await body(steps, join(home, "Downloads"));
    }),
  );
}

/**
 * Opens the page through WebKitWebDriver, which hands real files to it.
 * @param body takes the page, which can `evaluate` and `upload(selector, paths)`
 */
export async function withDriver({ url }, { features = [] }, body) {
  const port = await freePort();
  const call = async (method, path, content) => {
    const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
      method,
      ...(content !== undefined && { body: JSON.stringify(content) }),
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  };
  await withProgram("WebKitWebDriver", [`--port=${port}`], async () => {
    const isReady = () =>
      call("GET", "status").then(
        ({ ready }) => ready,
        () => false,
      );
    while (!(await isReady())) await new Promise((resolve) => setTimeout(resolve, 100));
    const options = { binary: miniBrowser(), args: ["--automation", ...featureList(features)] };
    const { sessionId } = await call("POST", "session", {
      capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } },
    });
    const session = `session/${sessionId}`;
    const page = {
      async evaluate(step, ...args) {
        const script = `const done = arguments[arguments.length - 1];
          Promise.resolve((${step})(...${JSON.stringify(args)})).then(value => done({ value }), error => done({ error: String(error) }));`;
        const { value, error } = await call("POST", `${session}/execute/async`, { script, args: [] });
        if (error !== undefined) throw new Error(error);
        return value;
      },
      async upload(selector, paths) {
        const element = await call("POST", `${session}/element`, { using: "css selector", value: selector });
        const [id] = Object.values(element);
        await call("POST", `${session}/element/${id}/value`, { text: paths.join("\n") });
      },
    };
    try {
      await call("POST", `${session}/url`, { url });
      await until(page, isDrawn);
      await body(page);
    } finally {
      await call("DELETE", session).catch(() => {});
    }
  });
}
