/** How classes of quantised tensors name what is inside when they are saved: codes, scales, and what the weight is called without them. */
const WRAPPERS: readonly (readonly [codes: RegExp, scales: string, weight: string])[] = [
  // quanto
  [/^(.*)\._data$/, "$1._scale", "$1"],
  // torchao, in transformers and by itself
  [/^(.*)\._weight_qdata$/, "$1._weight_scale", "$1.weight"],
  [/^(.*):qdata$/, "$1:scale", "$1"],
];

/** The weight that codes of a tensor class belong to, and the name of its scales; `null` for names of another kind. */
export function wrappedWeight(codes: string): { readonly weight: string; readonly scales: string } | null {
  const found = WRAPPERS.find(([pattern]) => pattern.test(codes));
  if (found === undefined) return null;
  const [pattern, scales, weight] = found;
  return { weight: codes.replace(pattern, weight), scales: codes.replace(pattern, scales) };
}
