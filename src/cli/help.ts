import { dialects } from "../checkpoint/dialects/index.ts";

const PATTERNS =
  "A PATTERN is a glob over tensor names, in which * stands for any text, or re: and a regular expression.";

/** Columns of the names of dialects and the space behind them. */
const WIDTH = 2 + Math.max(...Object.keys(dialects).map((name) => name.length));

/** Below the options of `blockscale quantize --help`. */
export const QUANTIZE_HELP: string = `
Weights of linear layers become FP8, FP6 or FP4; norms, embeddings, output heads, router gates and biases are
copied, unless an --also asks for them. Weights that have codes and scales already are converted from their dialect
to the one asked for: without loss where the new blocks divide the old ones and the scales are powers of two, else quantised anew.
${PATTERNS}

A folder becomes a folder that loads as it is: config.json and the index are rewritten, all other files
copied. An interrupted run continues where it stopped when the same command is given again.

Dialects:
${Object.values(dialects)
  .map(({ name, about }) => `  ${name.padEnd(WIDTH)}${about}`)
  .join("\n")}

Examples:
  blockscale quantize model.safetensors model-fp8.safetensors
  blockscale quantize Qwen3-8B/ Qwen3-8B-MXFP8/ --to mxfp8 --exclude '*.o_proj.weight'
  blockscale quantize DeepSeek-R1/ out/ --to deepseek-v4 --dry-run
  blockscale quantize Qwen3-8B/ Qwen3-8B-FP8/ --report qwen3-8b.html
`;

/** Below the options of `blockscale dequantize --help`. */
export const DEQUANTIZE_HELP: string = `
Reads FP8 of DeepSeek, Qwen, MiniMax, compressed-tensors and ModelOpt, FP8 with one scale per channel or tensor, AMD's
FNUZ codes, MXFP4 and NVFP4, the FP4 experts of gpt-oss and DeepSeek-V4, Quark's MXFP6 and packed INT4. Each value is
rounded once.
${PATTERNS}

Examples:
  blockscale dequantize DeepSeek-V3.1/ DeepSeek-V3.1-BF16/
  blockscale dequantize model-fp8.safetensors model.safetensors --dtype f32
`;

/** Below the options of `blockscale compare --help`. */
export const COMPARE_HELP: string = `
Lost precision is reported and is no failure. The exit status is 1 where more than that differs: tensors that only one
side has, or whose shapes differ, and values that are NaN or Inf on one side only. Such values count in no other figure.

Examples:
  blockscale compare model.safetensors model-fp8.safetensors
  blockscale compare Qwen3-8B/ Qwen3-8B-FP8/ --json
`;

/** Below the options of `blockscale evaluate --help`. */
export const EVALUATE_HELP: string = `
A model of any size is run a layer at a time: its weights are read, applied to all chunks of the text, and dropped.
Experts are read only if some token is routed to them. Figures and names are those of llama.cpp's llama-perplexity.

Examples:
  blockscale evaluate Qwen3-8B-FP8/ --against Qwen3-8B/ --text book.txt
  blockscale evaluate DeepSeek-V3.1/ --text book.txt --context 256 --state unfinished/
  blockscale evaluate Qwen3-8B-FP8/ --against Qwen3-8B/ --text book.txt --activations fp8 --json
  blockscale evaluate Qwen3-8B-FP8/ --against Qwen3-8B/ --text book.txt --part 3/8 --out scores/   # then: blockscale finish scores/
`;

/** Below the options of `blockscale sensitivity --help`. */
export const SENSITIVITY_HELP: string = `
Rounds each linear layer to each format and measures the error of its output on the text, and what that does to the loss. Formats:
nvfp4, mxfp4, mxfp4Ocp, mxfp6, fp8 (128x128), mxfp8, mxfp8Ocp, e5m2, bf16 (as it is); mxfp6 is mixed with mxfp4 and bf16 alone. The choice within the budget is exact; uniform formats and
mixes of as many bits are run beside the original, as quantize writes them. The whole model is in memory. Matrices that vLLM and SGLang fuse (q, k, v; gate, up)
get one format; with --apart each gets its own, which transformers and blockscale can read.

Examples:
  blockscale sensitivity model/ --text book.txt --bits 6 --out mix.json --report mix.html
  blockscale quantize model/ out/ --overrides mix.json
  blockscale evaluate out/ --against model/ --text book.txt
`;

/** Below the options of `blockscale train --help`. */
export const TRAIN_HELP: string = `
Recipes: f32; deepseek (E4M3, activations and gradients in blocks of 1x128, weights 128x128); mxfp8 (E4M3, 1x32);
mxfp8-e5m2 (output gradients in E5M2); and controls, which should be worse: mxfp8-floor, deepseek-square, e5m2,
mxfp4, mxfp4-floor; mxfp4-stochastic and nvfp4 round gradients stochastically.
Weights, gradients, sums, embedding, head, norms and attention stay in float32. An interrupted run continues from its last
checkpoint when the same command is given again, and ends with the same bits. The folder can be used with blockscale generate and
with transformers.
On several machines (docs/machines.md), each with its own --rank, all with the same texts and an OUT that they share:
  blockscale train book.txt /shared/out/ --queue redis://queue:6379 --world-size 2 --rank 0

Examples:
  blockscale train book.txt out/ --steps 2000
  blockscale train notes.txt tuned/ --from model/ --lora 8 --learning-rate 0.0005
  blockscale train *.txt out/ --config Qwen3-0.6B/config.json --tokenizer Qwen3-0.6B/tokenizer.json --recipe mxfp8
`;
