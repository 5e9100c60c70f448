/** What a card says: a result in figures, with one picture below them. */
export interface CardContent {
  readonly title: string;
  /** Kind of the result, such as the format. */
  readonly subtitle: string;
  /** Four at most. */
  readonly figures: readonly { readonly label: string; readonly value: string }[];
  readonly below?: Below;
}

export type Below =
  /** A point for each value, or a line through them; several series share the scale. */
  | {
      readonly kind: "points" | "lines";
      readonly label: string;
      readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
    }
  | { readonly kind: "texts"; readonly texts: readonly { readonly heading: string; readonly text: string }[] }
  | {
      readonly kind: "maps";
      readonly maps: readonly { readonly label: string; readonly map: CanvasImageSource }[];
    };

/** The card in one sentence, for those who do not see it. */
export function sentenceOf({ title, subtitle, figures }: CardContent): string {
  return `${title}, ${subtitle}: ${figures.map(({ label, value }) => `${label} ${value}`).join("; ")}`;
}
