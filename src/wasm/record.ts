/**
 * What a field of a record holds: a whole number of 32 bits (an address, a count or a flag), or a float32.
 */
export type FieldType = "u32" | "f32";

/** The values of a record whose fields are described by `Types`. */
export type RecordOf<Types> = { readonly [name in keyof Types]: number };

/**
 * How a record lies in memory. A kernel takes the address of one instead of a dozen arguments: fields of 32
 * bits each, in the order of the fields of a class in assembly/. A test compares both.
 */
export class RecordLayout<T extends RecordOf<T>> {
  readonly fields: readonly (keyof T)[];
  readonly bytes: number;
  /** The fields that are float32. */
  readonly floats: readonly (keyof T)[];

  constructor(types: { readonly [name in keyof T]: FieldType }) {
    const fields = Object.keys(types) as (keyof T)[];
    this.fields = fields;
    this.bytes = 4 * fields.length;
    this.floats = fields.filter((name) => types[name] === "f32");
  }

  /** Writes a record to an address for the kernels. */
  write(buffer: ArrayBuffer, at: number, record: T): void {
    const { fields, floats } = this;
    const words = new Uint32Array(buffer, at, fields.length);
    for (let i = 0; i < words.length; i++) words[i] = record[fields[i]!];
    if (floats.length === 0) return;
    const view = new Float32Array(buffer, at, fields.length);
    for (const name of floats) view[fields.indexOf(name)] = record[name];
  }
}
