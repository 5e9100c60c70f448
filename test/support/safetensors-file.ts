/** A safetensors file from the text of its header, right or wrong. */
export function fileOf(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** One F32 tensor of a header, as text. */
export function f32(name: string, shape: string, begin: number | string, end: number | string): string {
  return `${JSON.stringify(name)}:{"dtype":"F32","shape":${shape},"data_offsets":[${begin},${end}]}`;
}
