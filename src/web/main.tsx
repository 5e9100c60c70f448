import { render } from "preact";
import { begin } from "./state/begin.ts";
import { ready } from "./strings/index.ts";
import { App } from "./views/app.tsx";
import { showHiddenCharacters } from "./visible-text.ts";

ready.then(() => {
  showHiddenCharacters();
  render(<App />, document.getElementById("app")!);
  begin();
});

// Without a service worker the page works all the same, only not offline. It fetches every part of the page,
// so it starts after the page has loaded.
const register = () => navigator.serviceWorker?.register("service-worker.js").catch(() => {});
if (document.readyState === "complete") register();
else addEventListener("load", register);
