// XDR (RFC 4506), as much of it as libvirt's protocol uses: values to bytes and back. Pure. A shape describes a value once, for both
// directions. What is read comes from a stranger: every length is bounded before anything is allocated, padding is zero, and
// nothing may be left over. Whatever is wrong is an XdrError, and says nothing about what was read.

/** Bytes that are not the value they should be, or a value that the shape cannot carry. */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

/** One kind of value, as it travels. */
export interface Shape<T> {
  write(value: T, to: Writer): void;
  read(from: Reader): T;
}

/** A shape of whatever values. */
export interface AnyShape {
  write(value: never, to: Writer): void;
  read(from: Reader): unknown;
}

/** The type of the values of a shape. */
export type ValueOf<S extends AnyShape> = ReturnType<S['read']>;

/** Every item of XDR takes a multiple of this many bytes (RFC 4506, section 3). */
const UNIT = 4;

/** Where shapes write to. */
export class Writer {
  readonly #parts: Uint8Array[] = [];

  word(value: number): void {
    const bytes = new Uint8Array(UNIT);
    new DataView(bytes.buffer).setUint32(0, value);
    this.#parts.push(bytes);
  }

  /** The bytes, and zeros up to the next unit. */
  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes, new Uint8Array((UNIT - (bytes.length % UNIT)) % UNIT));
  }

  /** Everything that was written. */
  done(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

/** Where shapes read from. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes that nobody has read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  word(): number {
    return this.#view.getUint32(this.#take(UNIT));
  }

  /** That many bytes; the zeros behind them are read too. */
  bytes(length: number): Uint8Array {
    const padding = (UNIT - (length % UNIT)) % UNIT;
    const at = this.#take(length + padding);
    if (this.#bytes.subarray(at + length, this.#at).some((byte) => byte !== 0))
      throw new XdrError('padding is not zero');
    return this.#bytes.subarray(at, at + length);
  }

  #take(length: number): number {
    if (length > this.left) throw new XdrError('the bytes end too early');
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** The bytes of a value. */
export function encode<T>(shape: Shape<T>, value: T): Uint8Array {
  const writer = new Writer();
  shape.write(value, writer);
  return writer.done();
}

/** The value of all of these bytes. */
export function decode<T>(shape: Shape<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = shape.read(reader);
  if (reader.left > 0) throw new XdrError('bytes are left over');
  return value;
}

/** A whole number of 32 bits with its sign. */
export const int: Shape<number> = {
  write: (value, to) => {
    if (value !== (value | 0)) throw new XdrError('not a number of 32 bits');
    to.word(value >>> 0);
  },
  read: (from) => from.word() | 0,
};

/** A whole number of 32 bits without a sign. */
export const uint: Shape<number> = {
  write: (value, to) => {
    if (value !== value >>> 0) throw new XdrError('not a number of 32 bits');
    to.word(value);
  },
  read: (from) => from.word(),
};

/** 2 to the 32nd. */
const HIGH = 4_294_967_296;

/** A whole number of 64 bits without a sign, as far as JavaScript can count: to 2^53-1. */
export const hyper: Shape<number> = {
  write: (value, to) => {
    if (!Number.isSafeInteger(value) || value < 0) throw new XdrError('not a number that can be counted');
    to.word(Math.floor(value / HIGH));
    to.word(value % HIGH);
  },
  read: (from) => {
    const value = from.word() * HIGH + from.word();
    if (!Number.isSafeInteger(value)) throw new XdrError('a number too large to be counted');
    return value;
  },
};

/** As many bytes as is said, no more and no fewer. */
export function opaque(length: number): Shape<Uint8Array> {
  return {
    write: (value, to) => {
      if (value.length !== length) throw new XdrError('bytes of another length');
      to.bytes(value);
    },
    read: (from) => Uint8Array.from(from.bytes(length)),
  };
}

/** Text of at most so many bytes of UTF-8. `lossy` reads U+FFFD where the bytes are no UTF-8; `strict` refuses them. */
export function text(maxBytes: number, reading: 'strict' | 'lossy' = 'strict'): Shape<string> {
  const decoder = new TextDecoder('utf-8', { fatal: reading === 'strict', ignoreBOM: true });
  return {
    write: (value, to) => {
      const bytes = Buffer.from(value, 'utf8');
      if (bytes.length > maxBytes) throw new XdrError('text too long');
      to.word(bytes.length);
      to.bytes(bytes);
    },
    read: (from) => {
      const bytes = from.bytes(bounded(from.word(), maxBytes));
      try {
        return decoder.decode(bytes);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        throw new XdrError('text is not UTF-8');
      }
    },
  };
}

/** A value that may be missing (null). */
export function optional<T>(shape: Shape<T>): Shape<T | null> {
  return {
    write: (value, to) => {
      to.word(value === null ? 0 : 1);
      if (value !== null) shape.write(value, to);
    },
    read: (from) => (bounded(from.word(), 1) === 0 ? null : shape.read(from)),
  };
}

/** At most so many values of one shape. */
export function list<T>(shape: Shape<T>, max: number): Shape<readonly T[]> {
  return {
    write: (values, to) => {
      to.word(bounded(values.length, max));
      for (const value of values) shape.write(value, to);
    },
    read: (from) => {
      const length = bounded(from.word(), max);
      // Every item takes at least one unit, so a length that cannot be true allocates nothing.
      if (length * UNIT > from.left) throw new XdrError('the bytes end too early');
      return Array.from({ length }, () => shape.read(from));
    },
  };
}

/** Several values in the order in which they are named. */
export function struct<S extends Readonly<Record<string, AnyShape>>>(
  members: S,
): Shape<{ readonly [K in keyof S]: ValueOf<S[K]> }> {
  type Members = { readonly [K in keyof S]: ValueOf<S[K]> };
  const entries = Object.entries(members) as unknown as readonly (readonly [keyof S, Shape<unknown>])[];
  return {
    write: (value, to) => {
      for (const [name, shape] of entries) shape.write(value[name], to);
    },
    read: (from) => Object.fromEntries(entries.map(([name, shape]) => [name, shape.read(from)])) as Members,
  };
}

/** No value at all. */
export const nothing: Shape<null> = { write: () => undefined, read: () => null };

function bounded(value: number, max: number): number {
  if (value > max) throw new XdrError('more than there may be');
  return value;
}
