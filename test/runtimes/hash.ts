/** The first 128 bits of the SHA-256 of arrays' bytes, one after another. */
export async function hash(...arrays: ArrayBufferView[]): Promise<string> {
  const bytes = new Uint8Array(arrays.reduce((n, array) => n + array.byteLength, 0));
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
