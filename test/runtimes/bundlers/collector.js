// Opens every app in a frame, waits for what it says, and posts it all to the server.
const TIMEOUT = 20_000;

function ask(url) {
  const frame = document.createElement("iframe");
  frame.src = url;
  return new Promise((resolve) => {
    addEventListener("message", ({ source, data }) => {
      if (source === frame.contentWindow) resolve(data);
    });
    setTimeout(resolve, TIMEOUT, "nothing in twenty seconds");
    document.body.append(frame);
  });
}

const apps = await (await fetch("/apps.json")).json();
const said = {};
for (const [name, url] of Object.entries(apps)) said[name] = await ask(url);
await fetch("/results", { method: "POST", body: JSON.stringify(said) });
