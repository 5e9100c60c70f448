import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { remove, save } from "../state/outputs.ts";
import { leaving, outputName, result } from "../state/signals.ts";
import { words } from "../strings/index.ts";

/** Asks what to do with an output that is not saved, before the page leaves it. */
export function LeaveDialog(): JSX.Element {
  const { leave: text, done } = words.value;
  const dialog = useRef<HTMLDialogElement>(null);
  const go = leaving.value;
  useEffect(() => {
    if (go === null) dialog.current!.close();
    else dialog.current!.showModal();
  }, [go]);
  const close = () => {
    leaving.value = null;
  };
  const after = async (first: () => Promise<boolean>) => {
    const isDone = await first();
    close();
    if (isDone) go?.();
  };
  const output = result.value;
  return (
    <dialog ref={dialog} class="ask" aria-labelledby="leave-heading" onClose={close}>
      {go !== null && output !== null && (
        <div class="card">
          <h2 id="leave-heading">{text.heading}</h2>
          <p>{text.question}</p>
          <button
            type="button"
            class="primary"
            onClick={() => after(() => save(output.id!, output.written, outputName.value))}
          >
            {done.save}
          </button>
          <button type="button" onClick={() => after(async () => true)}>
            {text.keep}
          </button>
          <button type="button" onClick={() => after(() => remove(output.id!))}>
            {text.remove}
          </button>
          <button type="button" class="quiet" onClick={close}>
            {text.stay}
          </button>
        </div>
      )}
    </dialog>
  );
}
