/** The 64 values that the snippets quantise: in mxfp8 their two scales are 2^-9 and 2^-8. */
export const VALUES = Float32Array.from({ length: 64 }, (_, i) => i / 64);
