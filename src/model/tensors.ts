import type { DecoderConfig, EncoderConfig, ExpertsMlp, Layer, ModelConfig } from "./config.ts";
import { headsOf, type Range, rowsOf, scaleRange, shareOf, type Team } from "./team.ts";

/** A tensor that a forward pass needs. */
export interface ModelTensor {
  /** Its key in the store. */
  readonly key: string;
  /** Names in checkpoints, without the prefix of the model; the first one that is there is taken. */
  readonly names: readonly string[];
  readonly shape: readonly number[];
  /**
   * How it is kept: rows of a matrix; a float32 vector; for each head a matrix that is part of `kv_b_proj`;
   * or stacked experts, whose plain values are transposed in the file.
   */
  readonly keptAs: "matrix" | "vector" | "to latent" | "from latent" | "stack";
  /**
   * Whether it may be rounded to integers: the weight of a product, but not a router, whose choices should
   * not change.
   */
  readonly isMultiplied: boolean;
  /** The rows that a member keeps of a matrix, or of each slice. */
  readonly rows: (team: Team) => Range;
  readonly isOptional?: boolean;
  /** Added to each value of a vector. */
  readonly offset?: number;
  /** Rows of a head in `kv_b_proj` that make its keys; those of its values follow. */
  readonly unrotatedDim?: number;
}

const everyRow = (rows: number) => (): Range => ({ start: 0, end: rows });

/** The tensors that the forward pass of a model needs, in the order of their use. */
export function tensorsOf(config: ModelConfig): ModelTensor[] {
  return config.kind === "decoder" ? decoderTensors(config) : encoderTensors(config);
}

function matrix(
  key: string,
  name: string | readonly string[],
  rows: number,
  cols: number,
  rangeOf: (team: Team) => Range,
): ModelTensor {
  const names = typeof name === "string" ? [name] : name;
  return { key, names, shape: [rows, cols], keptAs: "matrix", isMultiplied: true, rows: rangeOf };
}

/** A matrix whose rows are looked up. */
function table(...args: Parameters<typeof matrix>): ModelTensor {
  return { ...matrix(...args), isMultiplied: false };
}

function vector(key: string, name: string | readonly string[], ...shape: number[]): ModelTensor {
  const names = typeof name === "string" ? [name] : name;
  return { key, names, shape, keptAs: "vector", isMultiplied: false, rows: everyRow(1) };
}

/** A linear layer: its weight, and its bias where the checkpoint has one. */
function linear(
  key: string,
  name: string,
  rows: number,
  cols: number,
  rangeOf: (team: Team) => Range,
): ModelTensor[] {
  return [
    matrix(key, `${name}.weight`, rows, cols, rangeOf),
    { ...vector(`${key}.bias`, `${name}.bias`, rows), isOptional: true },
  ];
}

function decoderTensors(config: DecoderConfig): ModelTensor[] {
  const { hidden, vocabulary } = config;
  const words = (team: Team) => rowsOf(vocabulary, team);
  const layers = config.layers.flatMap((layer, i) => layerTensors(config, layer, i));
  const head: ModelTensor[] = config.isTied
    ? []
    : [{ ...matrix("head", "/lm_head.weight", vocabulary, hidden, words), isOptional: true }];
  return [
    { ...matrix("embedding", "embed_tokens.weight", vocabulary, hidden, words), isMultiplied: config.isTied },
    ...layers,
    normOf(config, "norm", "norm.weight", hidden),
    ...head,
  ];
}

/** The tensors of one layer; their keys begin with its number and a point. */
function layerTensors(config: DecoderConfig, layer: Layer, i: number): ModelTensor[] {
  const { hidden } = config;
  const at = `layers.${i}`;
  return [
    ...layerNorms(config, i, at),
    ...attentionTensors(config, layer, `${i}.attention`, `${at}.self_attn`),
    ...(layer.mlp.kind === "dense"
      ? gatedTensors(`${i}.mlp`, `${at}.mlp`, hidden, layer.mlp.size)
      : expertTensors(config, layer.mlp, `${i}.mlp`, `${at}.mlp`)),
  ];
}

function normOf(config: DecoderConfig, key: string, name: string, size: number): ModelTensor {
  return { ...vector(key, name, size), offset: config.normOffset };
}

/** The norms of a layer: two before its halves, and two behind them in models with four. */
function layerNorms(config: DecoderConfig, i: number, at: string): ModelTensor[] {
  const norm = (key: string, name: string) =>
    normOf(config, `${i}.${key}_norm`, `${at}.${name}_layernorm.weight`, config.hidden);
  if (!config.hasPostNorms) return [norm("attention", "input"), norm("mlp", "post_attention")];
  return [
    norm("attention", "input"),
    norm("after_attention", "post_attention"),
    norm("mlp", "pre_feedforward"),
    norm("after_mlp", "post_feedforward"),
  ];
}

function attentionTensors(config: DecoderConfig, layer: Layer, key: string, name: string): ModelTensor[] {
  const { hidden } = config;
  const { attention } = layer;
  const outer = (team: Team) => rowsOf(hidden, team);
  if (attention.kind === "heads") {
    const { heads, keyHeads, headDim, hasNorms, hasSinks } = attention;
    const queries = (team: Team) => scaleRange(headsOf(heads, keyHeads, team).queries, headDim);
    const keys = (team: Team) => scaleRange(headsOf(heads, keyHeads, team).keys, headDim);
    return [
      ...linear(`${key}.q`, `${name}.q_proj`, heads * headDim, hidden, queries),
      ...linear(`${key}.k`, `${name}.k_proj`, keyHeads * headDim, hidden, keys),
      ...linear(`${key}.v`, `${name}.v_proj`, keyHeads * headDim, hidden, keys),
      ...linear(`${key}.o`, `${name}.o_proj`, hidden, heads * headDim, outer),
      ...(hasNorms
        ? [
            normOf(config, `${key}.q_norm`, `${name}.q_norm.weight`, headDim),
            normOf(config, `${key}.k_norm`, `${name}.k_norm.weight`, headDim),
          ]
        : []),
      ...(hasSinks ? [vector(`${key}.sinks`, `${name}.sinks`, heads)] : []),
    ];
  }
  const { heads, queryRank, rank, unrotatedDim, ropeDim, valueDim } = attention;
  const own = (team: Team) => headsOf(heads, heads, team).queries;
  const queries = (team: Team) => scaleRange(own(team), unrotatedDim + ropeDim);
  const rows = heads * (unrotatedDim + ropeDim);
  return [
    ...(queryRank === null
      ? linear(`${key}.q_b`, `${name}.q_proj`, rows, hidden, queries)
      : [
          ...linear(`${key}.q_a`, `${name}.q_a_proj`, queryRank, hidden, (team) => rowsOf(queryRank, team)),
          vector(`${key}.q_a_norm`, `${name}.q_a_layernorm.weight`, queryRank),
          ...linear(`${key}.q_b`, `${name}.q_b_proj`, rows, queryRank, queries),
        ]),
    ...linear(`${key}.kv_a`, `${name}.kv_a_proj_with_mqa`, rank + ropeDim, hidden, (team) =>
      rowsOf(rank + ropeDim, team),
    ),
    vector(`${key}.kv_a_norm`, `${name}.kv_a_layernorm.weight`, rank),
    ...(["to latent", "from latent"] as const).map((keptAs) => ({
      key: `${key}.${keptAs.replace(" ", "_")}`,
      names: [`${name}.kv_b_proj.weight`],
      shape: [heads * (unrotatedDim + valueDim), rank],
      keptAs,
      isMultiplied: false,
      rows: own,
      unrotatedDim,
    })),
    ...linear(`${key}.o`, `${name}.o_proj`, hidden, heads * valueDim, outer),
  ];
}

function gatedTensors(key: string, name: string, hidden: number, size: number): ModelTensor[] {
  const inner = (team: Team) => rowsOf(size, team);
  return [
    ...linear(`${key}.gate`, `${name}.gate_proj`, size, hidden, inner),
    ...linear(`${key}.up`, `${name}.up_proj`, size, hidden, inner),
    ...linear(`${key}.down`, `${name}.down_proj`, hidden, size, (team) => rowsOf(hidden, team)),
  ];
}

function expertTensors(config: DecoderConfig, experts: ExpertsMlp, key: string, name: string): ModelTensor[] {
  const { hidden } = config;
  const { count, size, names, sharedSize } = experts;
  const inner = (team: Team) => rowsOf(size, team);
  return [
    ...linear(`${key}.router`, `${name}.${names.router}`, count, hidden, everyRow(count)).map((tensor) => ({
      ...tensor,
      isMultiplied: false,
    })),
    ...(names.correction === null
      ? []
      : [{ ...vector(`${key}.correction`, `${name}.${names.correction}`, count), isOptional: true }]),
    ...(names.layout === "each"
      ? Array.from({ length: count }, (_, e) =>
          gatedTensors(`${key}.${e}`, `${name}.experts.${e}`, hidden, size),
        ).flat()
      : [
          stack(`${key}.experts.gate`, `${name}.experts.gate_up_proj`, [count, 2 * size, hidden], (team) =>
            scaleRange(inner(team), 2),
          ),
          vector(`${key}.experts.gate.bias`, `${name}.experts.gate_up_proj_bias`, count, 2 * size),
          stack(`${key}.experts.down`, `${name}.experts.down_proj`, [count, hidden, size], (team) =>
            rowsOf(hidden, team),
          ),
          vector(`${key}.experts.down.bias`, `${name}.experts.down_proj_bias`, count, hidden),
        ]),
    ...(names.shared === null
      ? []
      : gatedTensors(`${key}.shared`, `${name}.${names.shared}`, hidden, sharedSize)),
  ];
}

function stack(key: string, name: string, shape: number[], rows: (team: Team) => Range): ModelTensor {
  return { key, names: [name], shape, keptAs: "stack", isMultiplied: true, rows };
}

function encoderTensors(config: EncoderConfig): ModelTensor[] {
  const { hidden, vocabulary, positions } = config;
  const norm = (key: string, name: string) => [
    vector(key, `${name}.weight`, hidden),
    vector(`${key}.bias`, `${name}.bias`, hidden),
  ];
  const rangeOf = (total: number) => (team: Team) => rowsOf(total, team);
  const layers = config.layers.flatMap(({ heads, headDim, size }, i) => {
    const at = `encoder.layer.${i}`;
    const own = (team: Team) => scaleRange(shareOf(heads, team), headDim);
    return [
      ...linear(`${i}.q`, `${at}.attention.self.query`, hidden, hidden, own),
      ...linear(`${i}.k`, `${at}.attention.self.key`, hidden, hidden, own),
      ...linear(`${i}.v`, `${at}.attention.self.value`, hidden, hidden, own),
      ...linear(`${i}.o`, `${at}.attention.output.dense`, hidden, hidden, rangeOf(hidden)),
      ...norm(`${i}.attention_norm`, `${at}.attention.output.LayerNorm`),
      ...linear(`${i}.up`, `${at}.intermediate.dense`, size, hidden, rangeOf(size)),
      ...linear(`${i}.down`, `${at}.output.dense`, hidden, size, rangeOf(hidden)),
      ...norm(`${i}.mlp_norm`, `${at}.output.LayerNorm`),
    ];
  });
  return [
    table("words", "embeddings.word_embeddings.weight", vocabulary, hidden, rangeOf(vocabulary)),
    table("positions", "embeddings.position_embeddings.weight", positions, hidden, rangeOf(positions)),
    table("types", "embeddings.token_type_embeddings.weight", 0, hidden, everyRow(1)),
    ...norm("norm", "embeddings.LayerNorm"),
    ...layers,
  ];
}

/**
 * What stands in front of the names of tensors: in a language model, in its base model saved alone, and in
 * the text part of a multimodal one.
 */
export const PREFIXES: readonly string[] = [
  "model.",
  "",
  "bert.",
  "roberta.",
  "language_model.model.",
  "model.language_model.",
];
