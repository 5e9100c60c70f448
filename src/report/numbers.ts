const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A power of two: 2⁻⁸. */
export function power(exponent: number): string {
  return `2${String(exponent).replace(/[-0-9]/g, (c) => (c === "-" ? "⁻" : DIGITS[Number(c)]!))}`;
}

/** A shape: 576 × 7168. Only the first 32 dimensions are written. */
export function shapeOf(shape: readonly number[]): string {
  return shape.length === 0 ? "1" : `${shape.slice(0, 32).join(" × ")}${shape.length > 32 ? " × …" : ""}`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Writes numbers as one language does. */
export interface NumberFormats {
  /** 12,345 */
  whole(n: number): string;
  /** 7.25 GB, in decimal units. */
  bytes(n: number): string;
  /** 6.25 % */
  percent(share: number): string;
  /** 31.52 */
  decibels(db: number): string;
}

/** @param locale BCP 47, such as `en` or `zh-Hans` */
export function numberFormats(locale: string): NumberFormats {
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const digits = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
  const decibels = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return {
    whole: (n) => whole.format(n),
    bytes(n) {
      let [value, i] = [n, 0];
      for (; value >= 999.5 && i < UNITS.length - 1; i++) value /= 1000;
      return `${digits.format(value)} ${UNITS[i]}`;
    },
    percent: (share) => `${digits.format(100 * share)} %`,
    decibels: (db) => decibels.format(db),
  };
}
