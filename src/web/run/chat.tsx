import type { JSX } from "preact";
import { brief } from "../strings/format.ts";
import { Choice } from "../views/choice.tsx";
import { Temperature } from "./continue.tsx";
import type { ModelSide } from "./protocol.ts";
import { busy, converted, facts, format, message, partner, say, speed, stop, turns } from "./state.ts";
import { words } from "./words.ts";

/** A conversation with one of the models. */
export function Chat(): JSX.Element {
  const text = words.value;
  if (facts.value !== null && !facts.value.hasChat) return <p class="note">{text.noChat}</p>;
  const fast = speed.value[partner.value];
  return (
    <section class="chat">
      <div class="controls">
        <Choice<ModelSide>
          id="run-partner"
          label={text.partner}
          value={partner.value}
          disabled={busy.value !== null}
          options={[
            ["original", text.original],
            ...(converted.value === null ? [] : ([["converted", format.value!]] as const)),
          ]}
          onChange={(value) => {
            partner.value = value;
          }}
        />
        <Temperature />
        <div class="row buttons">
          <button
            type="button"
            disabled={busy.value !== null || turns.value.length === 0}
            onClick={() => {
              turns.value = [];
            }}
          >
            {text.restart}
          </button>
          <p class="help">{fast !== null && text.speed(brief(fast))}</p>
        </div>
      </div>
      <ol class="turns" aria-live="polite" aria-busy={busy.value === "chat"} data-testid="turns">
        {turns.value.map(({ role, content }, i) => (
          <li key={i} class={role}>
            <b>{role === "user" ? text.you : text.answer}</b>
            <p>{content}</p>
          </li>
        ))}
      </ol>
      <Message />
    </section>
  );
}

function Message(): JSX.Element {
  const text = words.value;
  const isIdle = busy.value === null && facts.value !== null;
  return (
    <form
      class="place"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isIdle || message.value.trim() === "") return;
        say(message.value);
        message.value = "";
      }}
    >
      <label for="run-message">{text.message}</label>
      <input
        id="run-message"
        type="text"
        autocomplete="off"
        placeholder={text.empty}
        value={message.value}
        onInput={(event) => {
          message.value = event.currentTarget.value;
        }}
      />
      {busy.value === "chat" ? (
        <button type="button" onClick={stop}>
          {text.stop}
        </button>
      ) : (
        <button type="submit" class="primary" disabled={!isIdle}>
          {text.send}
        </button>
      )}
    </form>
  );
}
