import { quotedTensor, shapeNamed } from "../../safetensors/display.ts";
import type { Dtype } from "../../safetensors/dtype.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Config, StoredTensor } from "./checkpoint.ts";

/** Quantised data of a method that is not read here. */
export interface ForeignTensor {
  readonly tensor: StoredTensor;
  /** Name of the method that the data looks like, for people. */
  readonly method: string;
  /** What reads it. */
  readonly reader: string;
}

interface Method {
  readonly method: string;
  readonly reader: string;
}

/** What `quant_method` of config.json says, where this package does not read such data at all. */
export const METHODS: Readonly<Record<string, Method>> = {
  gptq: { method: "GPTQ", reader: "GPTQModel" },
  awq: { method: "AWQ", reader: "AutoAWQ or vLLM" },
  bitsandbytes: { method: "bitsandbytes", reader: "transformers with bitsandbytes" },
  quanto: { method: "quanto", reader: "optimum-quanto" },
  torchao: { method: "torchao", reader: "transformers with torchao" },
  hqq: { method: "HQQ", reader: "hqq" },
  eetq: { method: "EETQ", reader: "transformers with eetq" },
  aqlm: { method: "AQLM", reader: "aqlm" },
  vptq: { method: "VPTQ", reader: "vptq" },
  higgs: { method: "HIGGS", reader: "transformers with flute" },
  spqr: { method: "SpQR", reader: "transformers with spqr_quant" },
  bitnet: { method: "BitNet", reader: "transformers" },
  autoround: { method: "AutoRound", reader: "auto-round" },
  "auto-round": { method: "AutoRound", reader: "auto-round" },
  exl2: { method: "EXL2", reader: "ExLlamaV2" },
  exl3: { method: "EXL3", reader: "ExLlamaV3" },
};

/** Last parts of names that only one method writes. */
const NAMES: readonly (Method & { readonly pattern: RegExp })[] = [
  { pattern: /\.(qweight|qzeros|g_idx)$/, method: "GPTQ or AWQ", reader: "GPTQModel or AutoAWQ" },
  {
    pattern:
      /\.(SCB|weight_format|absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[^.]*bitsandbytes[^.]*)$/,
    method: "bitsandbytes",
    reader: "transformers with bitsandbytes",
  },
  { pattern: /\._data$|\.weight\._(data|scale|shift)$/, method: "quanto", reader: "optimum-quanto" },
  { pattern: /(:|\.|_)(qdata|tensor_impl)($|[.:_])/, method: "torchao", reader: "transformers with torchao" },
  { pattern: /\.(q_perm|q_scale_max|q_groups|trellis|suh|svh)$/, method: "EXL2 or EXL3", reader: "ExLlama" },
  { pattern: /\.weight_zero_point$/, method: "integers with zero points", reader: "llm-compressor or vLLM" },
  { pattern: /\.W_q$/, method: "HQQ", reader: "hqq" },
  // The weights are right only where a model multiplies its inputs with these.
  {
    pattern: /\.pre_quant_scale$/,
    method: "AWQ of ModelOpt, with scales for inputs",
    reader: "ModelOpt or TensorRT-LLM",
  },
];

/** Types whose bytes are codes rather than numbers, in a tensor that is a weight. */
const CODE_DTYPES: ReadonlySet<Dtype> = new Set(["U8", "I8", "I16", "U16", "I32", "U32"]);

/** Types that nobody uses for anything but codes, whatever the tensor is called and however it is shaped. */
const ALWAYS_CODES: ReadonlySet<Dtype> = new Set(["F4", "F6_E2M3", "F6_E3M2"]);

/** Names of weights, packed or not. Masks and position numbers have others. */
const WEIGHT = /(^|[._])(weight|weight_packed|packed|blocks|codes|kernel|[a-z_]*proj|w[123])$/;

/** Names of integers that are no codes. */
const TABLE = /(^|[._])(mask|bias|ids?|index|indices|positions?|shape|tid2eid)$/i;

/**
 * The tensors of a checkpoint that hold quantised data of another method, or codes that nothing
 * here can read. A label of quantisation must not be changed while they are there: the
 * checkpoint would claim to be what it is not.
 * @param stored tensors that were not resolved as scaled weights
 * @param quantization the quantization_config of config.json
 * @param isRead whether there are scaled weights: if not, a label of quantisation is about tensors that are
 * not read here
 */
export function foreignTensors(
  stored: readonly StoredTensor[],
  quantization: Config | null,
  isRead: boolean,
): ForeignTensor[] {
  const named = methodOf(quantization);
  const isLabelled = quantization !== null && !isRead;
  const marks = stored.map(({ name }) => NAMES.find(({ pattern }) => pattern.test(name)));
  return stored.flatMap((tensor, i): ForeignTensor[] => {
    const mark = marks[i];
    if (mark !== undefined) {
      const { method, reader } = named ?? mark;
      return [{ tensor, method, reader }];
    }
    const isCodes = ALWAYS_CODES.has(tensor.dtype) || isWeightOfCodes(tensor, isLabelled);
    if (!isCodes) return [];
    // Codes are called the same by several methods: what else is in the checkpoint tells.
    const { method, reader } =
      named ?? marks.find((found) => found !== undefined) ?? guessed(tensor, quantization);
    return [{ tensor, method, reader }];
  });
}

function isWeightOfCodes({ name, dtype, shape, start, end }: StoredTensor, isLabelled: boolean): boolean {
  if (!CODE_DTYPES.has(dtype) || shape.length < 1 || end === start) return false;
  return WEIGHT.test(name) || (isLabelled && shape.length >= 2 && !TABLE.test(name));
}

/** What `quant_algo` of ModelOpt says, where this package does not read such data: AWQ and INT8. */
const MODELOPT_ALGORITHMS = /AWQ|SQ|^W8A16$/;

/** The method that config.json or hf_quant_config.json names, if it is one that is not read here. */
function methodOf(quantization: Config | null): Method | undefined {
  const { quant_method: method, quant_algo: algorithm } = quantization ?? {};
  if (typeof method === "string" && Object.hasOwn(METHODS, method.toLowerCase()))
    return METHODS[method.toLowerCase()];
  return typeof algorithm === "string" && MODELOPT_ALGORITHMS.test(algorithm)
    ? { method: `${algorithm} of ModelOpt`, reader: "ModelOpt or TensorRT-LLM" }
    : undefined;
}

function guessed({ dtype }: StoredTensor, quantization: Config | null): Method {
  const format = quantization?.format ?? quantization?.quant_algo ?? quantization?.quant_method;
  if (typeof format === "string") {
    return { method: `${format} (${dtype} codes)`, reader: "the tool that made it, or vLLM" };
  }
  if (dtype === "I8") return { method: "INT8 codes", reader: "the tool that made it, or vLLM" };
  if (dtype === "U32") return { method: "MLX", reader: "mlx-lm" };
  return { method: `${dtype} codes of an unknown kind`, reader: "the tool that made it" };
}

/**
 * What is wrong where config.json names a method that is not read here, and no tensor looks like it.
 * @param isRead whether codes and scales were found that are read, whatever config.json calls the method
 */
export function methodWithoutTensors(
  foreign: readonly ForeignTensor[],
  quantization: Config | null,
  isRead: boolean,
): BlockscaleError | null {
  const named = methodOf(quantization);
  if (named === undefined || isRead || foreign.length > 0) return null;
  const { quant_method: method = quantization?.quant_algo } = quantization ?? {};
  return new BlockscaleError("dialect", {
    where: "quantization_config of config.json, or hf_quant_config.json",
    expected: "a method that is read here, or none",
    got: `${JSON.stringify(method)}, although no tensor looks like ${named.method}`,
    fix: `Remove it there if the weights are plain; else convert with ${named.reader}.`,
  });
}

/**
 * Refuses to convert a checkpoint while foreign quantised data are in it.
 * @param isRead whether codes and scales were found that are read, whatever config.json calls the method
 * @throws BlockscaleError `dialect`: names the method, the first
 * tensors and their number, and what reads them
 */
export function refuseForeign(
  foreign: readonly ForeignTensor[],
  quantization: Config | null,
  isRead: boolean,
): void {
  const problem = methodWithoutTensors(foreign, quantization, isRead);
  if (problem !== null) throw problem;
  const [first] = foreign;
  if (first === undefined) return;
  const names = foreign.slice(0, 3).map(({ tensor }) => quotedTensor(tensor.name));
  const more = foreign.length > names.length ? `, and ${foreign.length - names.length} more` : "";
  throw new BlockscaleError("dialect", {
    where: names.join(", ") + more,
    expected: "tensors that are plain, or FP8 or FP4 with scales",
    got: `${first.method}: ${first.tensor.dtype} ${shapeNamed(first.tensor.shape)}, in ${foreign.length} tensor${foreign.length === 1 ? "" : "s"}`,
    fix: `Make plain weights with ${first.reader} first. Nothing was written: config.json would no longer say what these tensors are.`,
  });
}
