import type { JSX } from "preact";
import { jsonOf } from "../../checkpoint/measure/summary.ts";
import { CardButtons } from "../card/card-buttons.tsx";
import { cardOfConversion } from "../card/conversion.ts";
import { client, problemIn } from "../state/client.ts";
import { backToForm } from "../state/converting.ts";
import { isReadByVllm } from "../state/destinations.ts";
import { leave, save } from "../state/outputs.ts";
import { download, downloadText } from "../state/saving.ts";
import {
  form,
  name,
  nameOfWritten,
  opened,
  outputName,
  packing,
  planned,
  problem,
  result,
  summary,
} from "../state/signals.ts";
import { bytes, duration, exactBytes, signedPercent, smallPercent, sqnrText } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import type { WrittenFile } from "../workers/protocol.ts";
import { PlanWarnings, ToAdd } from "./convert-card.tsx";
import { CopyButton } from "./copy-button.tsx";
import { useFocus } from "./focus.ts";
import { Icon } from "./icons.tsx";

/** A conversion that has been checked: files to save, reports. */
export function ResultCard(): JSX.Element | null {
  const { done: text } = words.value;
  const change = useFocus<HTMLParagraphElement>();
  const found = result.value;
  if (found === null) return null;
  const { written, seconds } = found;
  const before = opened.value!.inspection.files.reduce((n, file) => n + file.bytes, 0);
  const total = written.reduce((n, { size }) => n + size, 0);
  const isPrivate = written.some(({ file }) => file !== null);
  return (
    <section class="card" aria-labelledby="done-heading" data-testid="done">
      <h2 id="done-heading" class="good">
        <Icon name="check" />
        {text.heading}
      </h2>
      <p class="big" tabIndex={-1} ref={change} data-testid="change">
        {text.change(bytes(before), bytes(total), signedPercent(total / before - 1))}
      </p>
      <p class="help took">
        {text.took} {duration(seconds)}
      </p>
      <p class="help">
        {text.verified(written.length)} {!isPrivate && text.saved}
      </p>
      {isPrivate && <SaveButton written={written} />}
      <ul class="written">
        {written.map((one) => (
          <FileRow key={one.name} written={one} />
        ))}
      </ul>
      <PlanWarnings />
      <ToAdd text={planned.value?.toAdd ?? null} />
      <Accuracy />
      {opened.value!.hasConfig && form.value.action === "quantize" && isReadByVllm(form.value.to) && (
        <ServeLine />
      )}
      <Reports />
      <CardButtons
        name={name.value}
        make={() => {
          const { action, to, dtype } = form.value;
          return cardOfConversion({
            name: name.value,
            to: action === "quantize" ? to : dtype.toUpperCase(),
            before,
            after: total,
            summary: summary()!,
          });
        }}
      />
      <button type="button" class="quiet" onClick={() => leave(backToForm)}>
        {text.again}
      </button>
    </section>
  );
}

/** How close the output is to the input, as a figure and in words. */
function Accuracy(): JSX.Element | null {
  const { done: text, precision: grades, colon } = words.value;
  const precision = summary()?.total.precision ?? null;
  if (precision === null) return null;
  const { sqnrDb, nonFinite } = precision;
  return (
    <>
      <div class="figure">
        <span>{text.total}</span>
        <b>{sqnrText(sqnrDb, nonFinite)}</b>
      </div>
      {sqnrDb != null && Number.isFinite(sqnrDb) && (
        <p class="help meaning">
          {grades.grade(sqnrDb) + colon}
          {text.meaning(smallPercent(10 ** (-sqnrDb / 20)))}
        </p>
      )}
    </>
  );
}

function Reports(): JSX.Element {
  const { done: text } = words.value;
  return (
    <div class="pair">
      <button type="button" onClick={() => downloadText(jsonText(), reportName("json"), "application/json")}>
        {text.report} JSON
      </button>
      <button type="button" onClick={saveHtml}>
        {text.report} HTML
      </button>
    </div>
  );
}

/** A line that starts a server with the output, to be copied. */
function ServeLine(): JSX.Element {
  const { done: text } = words.value;
  // The folder is on the disk of the user, who knows where.
  const line = `vllm serve ./${/^[\w.-]+$/.test(name.value) ? name.value : "model"}`;
  return (
    <div class="serve">
      <span class="help">{text.serve}</span>
      <code>{line}</code>
      <CopyButton label={text.copy} copied={text.copied} text={() => line} />
    </div>
  );
}

function SaveButton({ written }: { readonly written: readonly WrittenFile[] }): JSX.Element {
  const { done: text } = words.value;
  const isOne = written.length === 1;
  const isPacking = packing.value !== null;
  return (
    <>
      <button
        type="button"
        class="primary wide"
        disabled={isPacking}
        onClick={() => save(result.value!.id!, written, outputName.value)}
      >
        <Icon name="down" />
        {isPacking ? text.packing : isOne ? text.save : text.saveAll(written.length)}
      </button>
      <p class="help">{text.saveNote}</p>
    </>
  );
}

function FileRow({ written }: { readonly written: WrittenFile }): JSX.Element {
  const label = nameOfWritten(written);
  const { name: path, size, checksum, file } = written;
  return (
    <li data-name={path} data-size={size} data-checksum={checksum}>
      {file === null ? (
        <span class="file">{label}</span>
      ) : (
        <button type="button" class="link file" onClick={() => download(file, label)}>
          {label}
        </button>
      )}
      <span class="help">
        {exactBytes(size)} · {words.value.done.checksum} <code>{checksum}</code>
      </span>
    </li>
  );
}

function reportName(extension: string): string {
  return `${name.value.replace(/\.safetensors$/, "")}-report.${extension}`;
}

/** The report of the command line's --json, and what was written. */
function jsonText(): string {
  const files = result.value!.written.map(({ name: file, size, checksum }) => ({
    name: file,
    size,
    xxh64: checksum,
  }));
  return `${jsonOf({ input: name.value, files, ...summary() })}\n`;
}

/** A page of its own, made by code that is loaded when it is asked for. */
async function saveHtml(): Promise<void> {
  try {
    const [{ htmlReport }, survey] = await Promise.all([
      import("../state/html-report.ts"),
      client.call("survey"),
    ]);
    downloadText(htmlReport(survey), reportName("html"), "text/html");
  } catch (error) {
    problem.value = problemIn(error);
  }
}
