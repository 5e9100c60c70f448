// Bytes as text that compresses as well as they do. Each byte is a character of its own, or two, so that equal
// instructions stay equal: base64 shifts them against each other, and is two thirds larger when compressed. Hexadecimal is
// twice as long, and a compressor, which sees no further back than 32 kB, finds half as much of it again.

/** Characters, of those from # to ~ but for < and \, which mean something in a page or in a string. */
const SYMBOLS = 90;
/** Bytes of one character; the other two symbols are followed by a second one. */
const SINGLE = SYMBOLS - 2;
/** The first bytes are those from -ROTATED on: small numbers and their negatives are the most frequent ones. */
const ROTATED = 16;

function character(symbol) {
  const code = 35 + symbol + (symbol >= 25 ? 1 : 0);
  return String.fromCharCode(code + (code >= 92 ? 1 : 0));
}

export function textOf(bytes) {
  return Array.from(bytes, (byte) => {
    const value = (byte + ROTATED) & 0xff;
    if (value < SINGLE) return character(value);
    const rest = value - SINGLE;
    return character(SINGLE + Math.floor(rest / SYMBOLS)) + character(rest % SYMBOLS);
  }).join("");
}

/** The inverse, `bytesOf(text)`, as source text. */
export const BYTES_OF = `// Through TextEncoder: reading a string one character at a time takes four times as long on the first call.
function bytesOf(text) {
  const codes = new TextEncoder().encode(text);
  let n = 0;
  for (let i = 0; i < codes.length; n++) {
    let value = symbolOf(codes[i++]);
    if (value >= ${SINGLE}) value = ${SINGLE} + ${SYMBOLS} * (value - ${SINGLE}) + symbolOf(codes[i++]);
    codes[n] = value - ${ROTATED};
  }
  return codes.slice(0, n);
}
// From # on, without < and \\.
function symbolOf(code) {
  return code - 35 - (code > 60) - (code > 92);
}
`;
