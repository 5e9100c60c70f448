import type { Maker } from "./maker.ts";

/** Classes of quantised tensors are saved with the names of what is inside of them. */
export const torchao: Maker = {
  name: "torchao",
  wrapped: [
    { codes: /^(.*)\._weight_qdata$/, scales: "$1._weight_scale", weight: "$1.weight" },
    { codes: /^(.*):qdata$/, scales: "$1:scale", weight: "$1" },
  ],
};

export const quanto: Maker = {
  name: "quanto",
  wrapped: [{ codes: /^(.*)\._data$/, scales: "$1._scale", weight: "$1" }],
};
