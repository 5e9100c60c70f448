/** What the library finds wrong, what it expected, and what to do about it. */
export const problemsOfLibrary: Readonly<Record<string, string>> = {
  "Run this model with another program.": "请用其他程序运行此模型。",
  "Run this model with another program, or ask for the architecture.":
    "请用其他程序运行此模型，或者提出支持此架构的请求。",
  "a GGUF file (llama.cpp)": " GGUF 文件（llama.cpp）",
  "a git-lfs pointer, not the file it points to": " git-lfs 指针，而不是它指向的文件",
  "a web page or XML": "网页或 XML",
  "a zip archive, perhaps a PyTorch checkpoint (.bin, .pt)":
    " zip 压缩包，可能是 PyTorch 检查点（.bin、.pt）",
  "a picture": "图片",
  "a PDF document": " PDF 文档",
  "a compressed file": "压缩文件",
  "JSON text": " JSON 文本",
  "plain text": "纯文本",
  "a Python pickle, perhaps a PyTorch checkpoint": " Python pickle，可能是 PyTorch 检查点",
  "a Python pickle": " Python pickle",
  "a NumPy array": " NumPy 数组",
  "an HDF5 file": " HDF5 文件",
  "an empty file": "空文件",
  "zeros where a header should be": "全零的文件，没有文件头",
  "a safetensors file": "safetensors 文件",
  "finite values": "有限的数值",
  "The worker stopped.": "页面的一部分停止了工作。",
  none: "没有",
  "tensors that are plain, or FP8 or FP4 with scales": "普通张量，或带缩放因子的 FP8 或 FP4 张量",
  "Set weight_block_size in the quantization_config of config.json to the block used.":
    "请把 config.json 的 quantization_config 中的 weight_block_size 设为所用的块。",
  "Remove what does not belong to the checkpoint: perhaps two formats were mixed in one folder.":
    "请移除不属于此模型的内容：一个文件夹中可能混有两种格式。",
  "Convert the checkpoint with the tool that made it: what that scale means is not known here.":
    "请用生成此模型的工具转换：此处不知道该缩放因子的含义。",
  "one tensor of scales": "一个缩放因子张量",
  "INT8 codes": "INT8 编码",
  "integers with zero points": "带零点的整数",
  "AWQ of ModelOpt, with scales for inputs": "ModelOpt 的 AWQ（输入带缩放因子）",
  "weights that serve without transforms of their inputs and outputs": "无需变换输入和输出即可使用的权重",
  "the tool that made it": "生成它的工具",
  "the tool that made it, or vLLM": "生成它的工具或 vLLM",
  "blocks of scales [rows, cols], each side at most 2^31 - 1": "缩放因子的块 [行, 列]，每边不超过 2^31 - 1",
  "a list of overrides": "overrides 列表",
  "a JSON list of overrides": "overrides 的 JSON 列表",
  'Write overrides as [{ "pattern": "*.down_proj.weight", "scheme": "keep" }].':
    '请写成 [{ "pattern": "*.down_proj.weight", "scheme": "keep" }]。',
  'Correct the value, as in { "pattern": "*.down_proj.weight", "scheme": { "rounding": "floor" } }.':
    '请更正此值，例如 { "pattern": "*.down_proj.weight", "scheme": { "rounding": "floor" } }。',
  "Choose one of these.": "请从中选择一个。",
  "a pattern that fits the name of at least one tensor": "至少匹配一个张量名称的模式",
  "transformers loads ModelOpt's folders without an error, and wrong: this is for vLLM, SGLang and TensorRT-LLM.":
    "transformers 加载 ModelOpt 的文件夹时不报错，但结果错误：此格式供 vLLM、SGLang 和 TensorRT-LLM 使用。",
  "vLLM looks for these scales under another name, for all models but a few such as MiniMax: for vLLM write modelopt or compressed-tensors.":
    "除 MiniMax 等少数模型外，vLLM 按另一名称查找这些缩放因子：要用于 vLLM，请选择 modelopt 或 compressed-tensors。",
  "SGLang knows no MXFP8 of compressed-tensors (autumn 2026): for SGLang write mxfp8 or modelopt.":
    "SGLang 不认识 compressed-tensors 的 MXFP8（2026 年秋）：要用于 SGLang，请选择 mxfp8 或 modelopt。",
  "at least 8 bytes": "至少 8 字节",
  "the file": "文件",
  "the text": "文本",
  "Fetch the file itself: open its address in a browser to see what the server says.":
    "请取得文件本身：在浏览器中打开其地址，看服务器返回什么。",
  "Only .safetensors files are read: look for the model in that format, or convert it first.":
    "只能读取 .safetensors 文件：请寻找该格式的模型，或先行转换。",
  "Run `git lfs pull` in the repository.": "请在仓库中运行 `git lfs pull`。",
  "Give the .safetensors file.": "请选择 .safetensors 文件。",
  "Unpack it first.": "请先解压。",
  "Give the .safetensors file, or the folder that it lies in.":
    "请选择 .safetensors 文件，或它所在的文件夹。",
  "Fetch the file again.": "请重新下载文件。",
  "Fetch the missing files.": "请下载缺少的文件，并与其他文件一起打开。",
  "The file was allocated and not written: fetch it again.": "文件只分配了空间而未写入：请重新下载。",
  "The file is cut off: fetch it again.": "请重新下载文件。",
  "The file is damaged or no safetensors file: fetch it again.":
    "文件已损坏或不是 safetensors 文件：请重新下载。",
  "Exclude the tensor, or repair the checkpoint.": "请保留此张量，或修复模型。",
  "Check that you may read it, and pass a token.": "请确认有权读取，并提供令牌。",
  "Check the address.": "请检查地址。",
  "Patterns fit whole names: write *.down_proj.weight, or re: and a regular expression.":
    "模式要匹配完整名称：请写 *.down_proj.weight，或 re: 加正则表达式。",
  // Headers and indices.
  "a JSON object of tensors": "由张量组成的 JSON 对象",
  "UTF-8 text": "UTF-8 文本",
  "other bytes": "其他字节",
  "one tensor of each name": "每个名称一个张量",
  "a size in whole bytes": "以整字节计的大小",
  "Rename or exclude one of them.": "请重命名或排除其中一个。",
  "Correct the shape.": "请更正形状。",
  "Split the tensors over more files.": "请把张量分到更多文件中。",
  "the name of a .safetensors file inside the folder": "此文件夹中 .safetensors 文件的名称",
  "an object with a weight_map": "含有 weight_map 的对象",
  another: "另一种内容",
  "file names as text": "文本形式的文件名",
  "a weight_map that names the file of each tensor": "指明每个张量所在文件的 weight_map",
  "metadata of a few levels": "层数不多的元数据",
  "some nested too deep": "嵌套过深的元数据",
  "The index is damaged or was made to do harm: fetch the checkpoint again.":
    "索引已损坏或被恶意改动：请重新下载模型。",
  "The index is of another version of the model: fetch it again, or remove that file.":
    "索引属于模型的另一版本：请重新下载索引，或移除该文件。",
  "the tensors of all shards": "所有分片的张量",
  "Fetch the index and that file again.": "请重新下载索引和该文件。",
  "no such tensor": "没有此张量",
  "each tensor in one file": "每个张量只在一个文件中",
  "Remove the file that does not belong to the checkpoint.": "请移除不属于此模型的文件。",
  "at least one .safetensors file": "至少一个 .safetensors 文件",
  "an empty folder": "空文件夹",
  "This is a pipeline of several models: give the folder of one of them.":
    "这是由多个模型组成的流水线：请打开其中一个模型的文件夹。",
  "PyTorch's own files are not read: look for the model as .safetensors, or save it so with transformers.":
    "不能读取 PyTorch 自己的文件：请寻找 .safetensors 版本，或用 transformers 另存为该格式。",
  "Give the folder that holds the .safetensors files.": "请打开含有 .safetensors 文件的文件夹。",
  "a JSON object": "JSON 对象",
  "a JSON object of components": "由组件组成的 JSON 对象",
  "Repair the file.": "请修复此文件。",
  "Correct the file, or fetch it again.": "请更正此文件，或重新下载。",
  "The file is damaged, or something else by that name: fetch it again.":
    "文件已损坏，或只是同名的其他内容：请重新下载。",

  // Scales and formats.
  "Add the shard with the scales, or choose to take missing scales as 1 (--missing-scale one).":
    "请加入含有缩放因子的分片。",
  "Correct config.json: set the block used, such as [128, 128].":
    "请更正 config.json：填写所用的块，例如 [128, 128]。",
  "a method that is read here, or none": "此处能读取的方法，或没有",
  "scales that are finite and not negative": "有限且不为负的缩放因子",
  "a scale other than 0 for a block that holds codes other than 0": "含有非零编码的块有非零的缩放因子",
  "The checkpoint is damaged, or its scales mean something else: convert it with the tool that made it.":
    "模型已损坏，或其缩放因子另有含义：请用生成它的工具转换。",
  "values that are still finite as code times scale, at most about 3.3e38":
    "编码乘以缩放因子后仍为有限的数值，至多约 3.3e38",
  "every quantised weight in one dialect, the only thing config.json can tell":
    "所有量化权重都用同一种格式，因为 config.json 只能说明一种",
  "Dequantise the checkpoint first, or do not exclude the weight.": "请先反量化此模型，或不要排除该权重。",
  "Exclude the tensor, or choose a dialect with blocks of one row (mxfp8).":
    "请排除此张量，或选择块只有一行的格式（mxfp8）。",
  "a name that is free for scales": "可供缩放因子使用的名称",
  "Choose another dialect, or exclude the weight.": "请选择其他格式，或排除该权重。",
  "a regular expression after re:": "re: 之后是正则表达式",
  "Correct the regular expression; a glob such as *.mlp.* needs no re: in front.":
    "请更正正则表达式；*.mlp.* 这样的通配符前面不需要 re:。",
  "a finite number from 0": "从 0 起的有限数",
  "a UE8M0 byte from 0 to 254": "0 到 254 的 UE8M0 字节",
  "Start from one of `schemes`: { ...schemes.mxfp8, block: [1, 64] }.": "请使用格式允许的取值。",
  "fp6_e2m3 as the only type of six bits in the quantization_config of config.json":
    "config.json 的 quantization_config 中唯一的六位类型 fp6_e2m3",
  "no such type": "没有这样的类型",
  "Open the folder with config.json. MXFP6 in E3M2 is not read here: make plain weights with AMD Quark.":
    "请打开含 config.json 的文件夹。此处不读取 E3M2 的 MXFP6：请用 AMD Quark 生成普通权重。",
  "Choose one of these names.": "请从这些名称中选择一个。",
  "Write a dialect that stores several: --to compressed-tensors-mixed.":
    "请选择能存放多种格式的 compressed-tensors-mixed。",

  // Files on servers and on the disk.
  "an answer": "应答",
  "Try again later.": "请稍后再试。",
  "a shorter file": "更短的文件",
  "Check that the file is complete, readable, and not being changed.":
    "请确认文件完整、可读，且没有正在被修改。",
  "one that sends whole files": "只发送整个文件的服务器",
  "Download the file first.": "请先下载文件。",
  "a file that stays as it is": "保持不变的文件",
  "another one than at first": "与最初不同的文件",
  "Run the same command again.": "请重新开始。",

  // Models that run.
  "default, linear, llama3 or yarn": "default、linear、llama3 或 yarn",
  "it in the checkpoint, in a format that is read here": "它在模型中，且格式可在此读取",
  "Fetch the missing shard.": "请下载缺少的分片。",
  "Use a BF16, FP8, MXFP4 or NVFP4 copy of the model.": "请使用此模型的 BF16、FP8、MXFP4 或 NVFP4 版本。",
  "config.json and the weights belong to different models: fetch both from one place.":
    "config.json 与权重属于不同的模型：请从同一处下载两者。",
  "a whole number": "整数",
  "a number": "数",
  "a finite number": "有限的数",
  "the config.json of the model among its files": "模型文件中有 config.json",
  "Give the folder that holds it; fetch it from where the weights came from if it is missing.":
    "请打开含有它的文件夹；如果缺少，请从权重的来源处下载。",
  "a tokenizer in the form of the tokenizers library": "tokenizers 库格式的分词器",
  "Leave out the oldest part of the text.": "请省略文本中最早的部分。",
  "Use the tokenizer of this model.": "请使用此模型的分词器。",
  "at least one token": "至少一个词元",
  "Give a text that is not empty.": "请给出非空的文本。",
  "Give a longer text, or a smaller context.": "请给出更长的文本。",
  "Give a smaller context.": "请给出更小的上下文。",
  "Paste a longer text.": "请粘贴更长的文本。",
  "Leave out its beginning.": "请删去开头部分。",
  "one more": "多一个",
  "messages that the model's chat template takes": "符合模型对话模板的消息",
  "Most take a system message, then user and assistant in turn.":
    "多数模板先取一条系统消息，再轮流取用户和助手的消息。",
  numbers: "数",
  "nothing but -Infinity": "全为 -Infinity",
  "two models of the same vocabulary": "词表相同的两个模型",
  "Compare a model with the original that it was made from.": "请把模型与生成它的原模型比较。",
  "finite logits, and a probability above 0 for every token that comes":
    "有限的 logits，且每个出现的词元概率大于 0",
  "NaN, or a probability of 0": "NaN，或概率为 0",
  "a loss and gradients that are numbers": "为数的损失和梯度",
  "Take a lower learning rate, a longer warm-up, or a recipe of higher precision.":
    "请使用更低的学习率、更长的预热，或精度更高的配方。",
};
