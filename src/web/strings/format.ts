import { computed } from "@preact/signals";
import { language, words } from "./index.ts";

export { power, shapeOf } from "../../report/numbers.ts";

const formats = computed(() => {
  const locale = language.value;
  return {
    whole: new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }),
    tenth: new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    short: new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }),
    percent: new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 }),
    signed: new Intl.NumberFormat(locale, {
      style: "percent",
      maximumFractionDigits: 0,
      signDisplay: "exceptZero",
    }),
    smallPercent: new Intl.NumberFormat(locale, {
      style: "percent",
      minimumFractionDigits: 2,
      maximumFractionDigits: 2,
    }),
    relative: new Intl.RelativeTimeFormat(locale, { numeric: "auto" }),
    seconds: unit(locale, "second"),
    minutes: unit(locale, "minute"),
    hours: unit(locale, "hour"),
  };
});

function unit(locale: string, name: string): Intl.NumberFormat {
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit: name,
    unitDisplay: "short",
    maximumFractionDigits: 0,
  });
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A size in decimal units, as file managers and model hubs give it: 7.2 GB. */
export function bytes(n: number): string {
  let [value, i] = [n, 0];
  for (; value >= 999.5 && i < UNITS.length - 1; i++) value /= 1000;
  return `${i === 0 ? whole(value) : brief(value)} ${UNITS[i]}`;
}

/** A number in about three digits: 7.2, 113. */
export function brief(n: number): string {
  const { whole, tenth } = formats.value;
  return (n >= 99.95 ? whole : tenth).format(n);
}

/** A number of bytes, to the byte. */
export function exactBytes(n: number): string {
  return `${formats.value.whole.format(n)} B`;
}

export function whole(n: number): string {
  return formats.value.whole.format(n);
}

/** A value with four significant digits: 0.01234, 1.2e-5. */
export function number(value: number): string {
  const rounded = Number(value.toPrecision(4));
  // Zeros are hard to count.
  return rounded !== 0 && Math.abs(rounded) < 1e-4 ? rounded.toExponential() : String(rounded);
}

/** 7.2B, 1.3亿. */
export function short(n: number): string {
  return formats.value.short.format(n);
}

export function percent(part: number): string {
  return formats.value.percent.format(part);
}

/** A percentage with its sign: −37 %. */
export function signedPercent(part: number): string {
  return formats.value.signed.format(part).replace("-", "−");
}

/** A percentage with two digits after the point, so that those of a column line up: 2.66%. */
export function smallPercent(part: number): string {
  return formats.value.smallPercent.format(part);
}

/** A probability. A very small one is not shown as zero. */
export function probability(part: number): string {
  return part > 0 && part < 0.0001 ? `< ${smallPercent(0.0001)}` : smallPercent(part);
}

/** A duration in its two largest units; hours without seconds. */
export function duration(seconds: number): string {
  const { seconds: s, minutes: m, hours: h } = formats.value;
  const rounded = Math.max(1, Math.round(seconds));
  if (rounded < 60) return s.format(rounded);
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60)
    return minutes < 10 ? `${m.format(minutes)} ${s.format(rounded % 60)}` : m.format(minutes);
  return `${h.format(Math.floor(minutes / 60))} ${m.format(minutes % 60)}`;
}

/** How long ago something was: 3 minutes ago. */
export function ago(time: number): string {
  const seconds = Math.max(0, (Date.now() - time) / 1000);
  const { relative } = formats.value;
  if (seconds < 3600) return relative.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86_400) return relative.format(-Math.round(seconds / 3600), "hour");
  return relative.format(-Math.round(seconds / 86_400), "day");
}

/** Finite decibels, with one digit after the point. */
export function decibels(db: number): string {
  // Not −0.0.
  return `${formats.value.tenth.format(Math.abs(db) < 0.05 ? 0 : db)} dB`;
}

/** The SQNR of weights in words; Infinity or null where nothing was lost. */
export function sqnrText(db: number | null, nonFinite: number): string {
  if (nonFinite > 0) return words.value.precision.notFinite(whole(nonFinite));
  return db === null || db === Infinity ? "∞" : decibels(db);
}
