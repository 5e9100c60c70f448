/** What the library says of dialects, and why a tensor stays as it is. */
export const plansOfLibrary: Readonly<Record<string, string>> = {
  "DeepSeek-V3, R1: 128x128 blocks, float32 scales": "DeepSeek-V3、R1：128x128 块，float32 缩放因子",
  "DeepSeek-V3.1, V3.2: 128x128 blocks, power-of-two scales kept as float32":
    "DeepSeek-V3.1、V3.2：128x128 块，2 的幂缩放因子，以 float32 保存",
  "DeepSeek-V4: 128x128 blocks, UE8M0 scales in tensors named .scale":
    "DeepSeek-V4：128x128 块，UE8M0 缩放因子，张量名为 .scale",
  "MXFP8 as transformers reads it: 1x32 blocks, UE8M0 scales as bytes":
    "transformers 所读的 MXFP8：1x32 块，UE8M0 字节缩放因子",
  "MXFP8 of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes":
    "llm-compressor 与 vLLM 的 MXFP8：1x32 块，UE8M0 字节缩放因子",
  "MXFP8 of NVIDIA ModelOpt: 1x32 blocks, UE8M0 scales as bytes":
    "NVIDIA ModelOpt 的 MXFP8：1x32 块，UE8M0 字节缩放因子",
  "MXFP4 weights of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes":
    "llm-compressor 与 vLLM 的 MXFP4 权重：1x32 块，UE8M0 字节缩放因子",
  "NVFP4 weights of llm-compressor and vLLM: 1x16 blocks, E4M3 scales divided by a float32":
    "llm-compressor 与 vLLM 的 NVFP4 权重：1x16 块，E4M3 缩放因子除以一个 float32",
  "A format for each weight, chosen by overrides, for llm-compressor and vLLM: NVFP4, MXFP4, MXFP8, or FP8 in 128x128 blocks":
    "由 overrides 为每个权重选定格式，供 llm-compressor 与 vLLM 读取：NVFP4、MXFP4、MXFP8，或 128x128 块的 FP8",
  "NVFP4 weights of NVIDIA ModelOpt: 1x16 blocks, E4M3 scales times a float32":
    "NVIDIA ModelOpt 的 NVFP4 权重：1x16 块，E4M3 缩放因子乘以一个 float32",
  "MXFP6 weights of AMD Quark and vLLM: E2M3 in 1x32 blocks, UE8M0 scales as bytes; overrides may choose MXFP4":
    "AMD Quark 与 vLLM 的 MXFP6 权重：1x32 块的 E2M3，UE8M0 字节缩放因子；overrides 可选择 MXFP4",
  "DeepSeek-V4 as released: routed experts in FP4 (1x32), other linear layers in FP8 (128x128)":
    "DeepSeek-V4 发布时的格式：路由专家用 FP4（1x32），其他线性层用 FP8（128x128）",
  "gpt-oss: its stacked experts in MXFP4 (1x32), everything else as it is":
    "gpt-oss：堆叠的专家用 MXFP4（1x32），其余保持不变",
  "no scales": "没有缩放因子",
  excluded: "已排除",
  "not a matrix": "不是矩阵",
  "not 2-D": "不是二维",
  "not quantised": "未量化",
  "already quantised": "已量化",
  "not of a type to quantise": "类型不可量化",
  "not the weight of a linear layer": "不是线性层的权重",
  "not chosen": "未被选中",
  "stored so already": "已是此格式",
  "kept by an override": "由 overrides 指定保留",
  "vision tower: small and sensitive": "视觉塔：小而敏感",
  "audio or speech part: small and sensitive": "音频或语音部分：小而敏感",
  "projector between towers: small and sensitive": "塔间投影：小而敏感",
  "part of a multimodal model that is not known as its language model":
    "多模态模型的一部分，不能确认属于其语言模型",
  "embedding: rows are looked up, not multiplied": "嵌入：按行查找，不做乘法",
  "embedding: a row for each token": "嵌入：每个词元一行",
  "GPT-2's Conv1D: stored as [in, out]": "GPT-2 的 Conv1D：按 [in, out] 存放",
  "output head: errors go straight into the logits": "输出头：误差直接进入 logits",
  "norm: a handful of values, sensitive": "归一化：数值少而敏感",
  "router gate: small, and its errors change which expert runs": "路由门：小，误差会改变所选专家",
  "kept by DeepSeek: sensitive projection": "DeepSeek 保留：敏感的投影",
  "state-space or linear-attention parameter: sensitive": "状态空间或线性注意力参数：敏感",
  "kept by whoever quantised the checkpoint": "量化者有意保留",
  "describes a quantisation that is gone: scale of activations or of the cache, or a marker":
    "描述已不存在的量化：激活或缓存的缩放因子，或标记",
  "stack of experts [experts, in, out]: loaders read FP8 as [experts, out, in]":
    "堆叠的专家 [experts, in, out]：加载程序按 [experts, out, in] 读取 FP8",
  "stack of experts whose sides are not those that config.json tells":
    "堆叠的专家，其边长与 config.json 不符",
  "stack of experts in which gate and up would share a block of scales":
    "堆叠的专家，其中 gate 与 up 会共用同一块的缩放因子",
  "a stack of experts: loaders read one float32 scale for each expert, not one for all":
    "堆叠的专家：加载程序为每个专家读取一个 float32 缩放因子，而不是共用一个",
  "MXFP4 experts of gpt-oss: no other dialect stores them": "gpt-oss 的 MXFP4 专家：其他格式不能存放",
  "codes are stored transposed, which this dialect does not do": "编码以转置方式存储，此格式不支持",
  "no model of gpt-oss, which this dialect is for": "不是 gpt-oss 模型，而此格式专用于它",
  "no stack of experts: loaders of gpt-oss take it in high precision":
    "不是堆叠的专家：gpt-oss 的加载程序以高精度读取",
  empty: "空",
};
