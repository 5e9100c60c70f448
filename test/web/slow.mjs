// A slow network and a slow machine: what is fetched, how often, and when the page can be used.
import assert from "node:assert/strict";
import { serve } from "../../.config/serve.mjs";
import { launch, openPage, withPage } from "./browser.mjs";
import { record, referenceTime } from "./tasks.mjs";

/** Runs `body` with a server of its own, and what it was asked for: path, status and bytes sent. */
async function withServer(options, body) {
  const server = await serve(0, undefined, options);
  const sent = [];
  server.prependListener("request", (request, response) => {
    response.on("finish", () => {
      const size = response.statusCode === 200 ? Number(response.getHeader("content-length")) : 0;
      const encoding = response.getHeader("content-encoding");
      sent.push({ path: request.url.replace(/\?.*/, ""), status: response.statusCode, size, encoding });
    });
  });
  try {
    await body(`http://localhost:${server.address().port}/`, sent);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Waits until the service worker has fetched all it keeps: it is active no sooner. */
const kept = (page) => page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));

/** The slow network, in bytes a second and seconds of a way there and back, and how much slower the processor is. */
const [RATE, LATENCY, SLOWER] = [200_000, 0.04, 4];

/** Milliseconds that the reference takes on an ordinary machine, the one that is slowed down. */
const REFERENCE = 350;

/** Seconds that files take over the slow network: their bytes, and a way for each that another had to ask for. */
function fetchTime(files) {
  const ways = (file) =>
    1 + Math.max(0, ...files.filter(({ end }) => end <= file.start).map((earlier) => ways(earlier)));
  return files.reduce((sum, { size }) => sum + size, 0) / RATE + LATENCY * Math.max(...files.map(ways));
}

/**
 * Visits the page for the first time over the slow network. @returns seconds until something is painted and until
 * it can be used, on an ordinary machine four times slowed: added up from what does not depend on this machine,
 * the files and the processor time in terms of the reference
 */
async function firstVisit(url) {
  const { context, close } = await launch("chromium");
  try {
    const page = await context.newPage();
    const speed = REFERENCE / (await referenceTime(page));
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    await session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 1000 * LATENCY,
      downloadThroughput: RATE,
      uploadThroughput: RATE,
    });
    await page.addInitScript(() => {
      const look = () => {
        const button = document.querySelector(".drop button.primary:not([disabled])");
        if (button !== null) performance.mark("usable");
        else requestAnimationFrame(look);
      };
      look();
    });
    const { tasks, marks } = await record(page, async () => {
      await page.goto(url);
      await page.waitForFunction(() => performance.getEntriesByName("usable").length > 0);
    });
    const { files, painted, usable } = await page.evaluate(() => ({
      files: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
        ({ startTime, responseEnd, transferSize, renderBlockingStatus }) => ({
          start: startTime,
          end: responseEnd,
          size: transferSize,
          isPainted: startTime === 0 || renderBlockingStatus === "blocking",
        }),
      ),
      painted: performance.getEntriesByName("first-contentful-paint")[0].startTime,
      usable: performance.getEntriesByName("usable")[0].startTime,
    }));
    const begin = marks.get("usable") - usable;
    const workUntil = (end) =>
      tasks
        .filter(({ start }) => start >= begin && start < begin + end)
        .reduce((sum, { time }) => sum + (SLOWER * speed * time) / 1000, 0);
    assert.ok(workUntil(usable) > 0, "no task was recorded");
    return {
      painted: fetchTime(files.filter(({ isPainted }) => isPainted)) + workUntil(painted),
      usable: fetchTime(files.filter(({ end }) => end <= usable)) + workUntil(usable),
    };
  } finally {
    await close();
  }
}

export const tests = [
  {
    name: "slow: at 200 kB/s and a quarter of the speed, painted within 1 s and usable within 2 s",
    browsers: ["chromium"],
    async body() {
      await withServer({}, async (url) => {
        const { painted, usable } = await firstVisit(url);
        console.log(`        painted after ${painted.toFixed(2)} s, usable after ${usable.toFixed(2)} s`);
        assert.ok(painted < 1 && usable < 2);
      });
    },
  },
  {
    name: "slow: served compressed, and nothing is sent twice, to keep it for later either",
    async body({ browser }) {
      await withServer({}, async (url, sent) => {
        const { context, close } = await launch(browser);
        try {
          const page = await openPage(context, url);
          await kept(page);
          await page.getByRole("button", { name: /^A language model/ }).click();
          await page.getByText(/^about /).waitFor();
          await page.getByRole("link", { name: "Run" }).click();
          await page.getByText("of weights became").waitFor();
          const whole = sent.filter(({ status }) => status === 200);
          const twice = whole.filter(({ path }, i) => whole.findIndex((one) => one.path === path) !== i);
          assert.deepEqual(twice, []);
          assert.ok(whole.length > 20);
          for (const { path, encoding } of whole)
            if (/\.(js|css|html|svg)$/.test(path)) assert.equal(encoding, "gzip", path);
          assert.deepEqual(page.errors, []);
        } finally {
          await close();
        }
      });
    },
  },
  {
    name: "threads: on a host without the headers, isolated by the service worker from the second visit on",
    async body({ browser }) {
      await withServer({ isolated: false }, async (url) => {
        const { context, close } = await launch(browser);
        try {
          const page = await openPage(context, url);
          assert.equal(await page.evaluate(() => crossOriginIsolated), false);
          await page.goto(`${url}?view=run&example=stories`);
          await page.getByTestId("run-facts").getByText("1 thread: this page cannot share memory").waitFor();
          await page.goto(url);
          await kept(page);
          await page.reload();
          assert.equal(await page.evaluate(() => crossOriginIsolated), true);
          // Workers start under the same rule.
          await page.getByRole("button", { name: /^A language model/ }).click();
          await page.getByText(/^about /).waitFor();
          assert.deepEqual(page.errors, []);
        } finally {
          await close();
        }
      });
    },
  },
  {
    name: "a link to a model on the hub opens it, at the tensor and the format of the link",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page, context) => {
        const bytes = Buffer.from(
          await (await fetch(`${env.url}examples/outliers/model.safetensors`)).arrayBuffer(),
        );
        const allowed = { "access-control-allow-origin": "*", "access-control-expose-headers": "*" };
        await context.route("https://huggingface.co/**", async (route) => {
          const url = new URL(route.request().url());
          const headers = { ...allowed, "content-type": "application/json" };
          if (url.pathname.startsWith("/api/models/some/model/tree/"))
            return route.fulfill({
              headers,
              body: JSON.stringify([
                { type: "file", path: "model.safetensors", size: bytes.length, oid: "0" },
              ]),
            });
          const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(route.request().headers().range ?? "") ?? [];
          if (url.pathname !== "/some/model/resolve/main/model.safetensors" || first === undefined)
            return route.fulfill({ status: 404, headers: allowed });
          return route.fulfill({
            status: 206,
            headers: { ...allowed, "content-range": `bytes ${first}-${last}/${bytes.length}` },
            body: bytes.subarray(Number(first), Number(last) + 1),
          });
        });
        const tensor = "model.layers.0.mlp.up_proj.weight";
        await page.goto(`${env.url}?model=some/model&tensor=${tensor}&format=mxfp8`);
        await page.getByTestId("comparison").waitFor();
        await page.getByRole("heading", { name: tensor }).waitFor();
        await page.keyboard.press("Escape");
        assert.equal(await page.locator("#dialect").inputValue(), "mxfp8");
        await page.waitForFunction(() => new URLSearchParams(location.search).get("model") === "some/model");
        await context.unroute("https://huggingface.co/**");
      });
    },
  },
];
