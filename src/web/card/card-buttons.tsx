import type { JSX } from "preact";
import { problemIn } from "../state/client.ts";
import { download } from "../state/saving.ts";
import { problem } from "../state/signals.ts";
import { words } from "../strings/index.ts";
import type { CardContent } from "./content.ts";

/** Whether the browser hands files to other programs, as those of phones do. */
const canShare: boolean = (() => {
  try {
    return navigator.canShare?.({ files: [new File([""], "card.png", { type: "image/png" })] }) ?? false;
  } catch {
    return false;
  }
})();

/** A result as a picture, to keep or to share. The code that draws it is loaded on demand. */
export function CardButtons({ name, make }: { readonly name: string; make(): CardContent }): JSX.Element {
  const { card } = words.value;
  const file = async () => {
    const { cardFile } = await import("./draw.ts");
    return cardFile(make(), card.tagline, `${name.replace(/[^\w.-]+/g, "-")}-blockscale.png`);
  };
  const run = (use: (made: File) => unknown) => async () => {
    try {
      await use(await file());
    } catch (error) {
      // The user closed the dialog.
      if ((error as DOMException).name !== "AbortError") problem.value = problemIn(error);
    }
  };
  return (
    <div class="row card-buttons">
      <button type="button" onClick={run((made) => download(made, made.name))}>
        {card.save}
      </button>
      {canShare && (
        <button type="button" onClick={run((made) => navigator.share({ files: [made] }))}>
          {card.share}
        </button>
      )}
    </div>
  );
}
