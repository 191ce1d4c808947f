import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnyShape,
  decode,
  encode,
  hyper,
  int,
  list,
  nothing,
  opaque,
  optional,
  struct,
  text,
  uint,
  XdrError,
} from '../../../../src/hypervisor/libvirt/xdr.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (words: string): Uint8Array => Uint8Array.from(Buffer.from(words.replaceAll(' ', ''), 'hex'));

describe('values as bytes', () => {
  // Written by hand from RFC 4506, sections 4.1, 4.2, 4.5, 4.9, 4.11, 4.13, 4.14, 4.19.
  const table: readonly [string, AnyShape, unknown, string][] = [
    ['a number', uint, 258, '00000102'],
    ['the largest number', uint, 4_294_967_295, 'ffffffff'],
    ['a negative number', int, -1, 'ffffffff'],
    ['the smallest number', int, -2_147_483_648, '80000000'],
    ['a long number', hyper, 4_294_967_298, '00000001 00000002'],
    ['the longest number that can be counted', hyper, Number.MAX_SAFE_INTEGER, '001fffff ffffffff'],
    ['text', text(10), 'abc', '00000003 61626300'],
    ['text that fills its units', text(10), 'abcd', '00000004 61626364'],
    ['text beyond ASCII', text(10), 'é', '00000002 c3a90000'],
    ['no text', text(0), '', '00000000'],
    ['bytes', opaque(5), bytes('0102030405'), '01020304 05000000'],
    ['nothing where something may be', optional(uint), null, '00000000'],
    ['something where something may be', optional(uint), 7, '00000001 00000007'],
    ['a list', list(int, 3), [1, -1], '00000002 00000001 ffffffff'],
    ['several values', struct({ a: int, b: text(3) }), { a: 1, b: 'x' }, '00000001 00000001 78000000'],
    ['no value', nothing, null, ''],
  ];
  it.each(table)('%s', (_, shape, value, words) => {
    expect(hex(encode(shape as never, value as never))).toBe(words.replaceAll(' ', ''));
    expect(decode(shape as never, bytes(words))).toEqual(value);
  });

  it('reads text that is not UTF-8 where it was told to', () => {
    expect(decode(text(4, 'lossy'), bytes('00000001 ff000000'))).toBe('\ufffd');
  });
});

describe('bytes that are no value', () => {
  const table: readonly [string, AnyShape, string][] = [
    ['end too early', uint, '000001'],
    ['are left over', uint, '00000001 00'],
    ['have text that is longer than it may be', text(2), '00000003 61626300'],
    ['have text that is longer than they are', text(1_000_000), '000f4240 61626300'],
    ['have text with padding that is not zero', text(3), '00000003 61626301'],
    ['have text that is not UTF-8', text(3), '00000001 ff000000'],
    ['have text without its padding', text(3), '00000001 61'],
    ['say neither yes nor no', optional(uint), '00000002 00000001'],
    ['have a list that is longer than it may be', list(uint, 1), '00000002 00000001 00000001'],
    ['have a list that is longer than they are', list(uint, 4_000_000_000), 'ee6b2800 00000001'],
    ['have a list of so many nothings', list(nothing, 4_000_000_000), 'ee6b2800 00000001'],
    ['have a number that cannot be counted', hyper, '00200000 00000000'],
  ];
  it.each(table)('they %s', (_, shape, words) => {
    expect(() => decode(shape as never, bytes(words))).toThrow(XdrError);
  });

  it('make nothing but an XdrError, whatever they are', () => {
    const shape = struct({ name: text(50), id: int, more: list(optional(struct({ a: hyper, b: opaque(3) })), 9) });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        try {
          const value = decode(shape, garbage);
          expect(hex(encode(shape, value))).toBe(hex(garbage));
        } catch (error) {
          expect(error).toBeInstanceOf(XdrError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

it('refuses to write what the other side could not read', () => {
  for (const [shape, value] of [
    [uint, -1],
    [uint, 1.5],
    [int, 2_147_483_648],
    [hyper, -1],
    [hyper, Number.MAX_SAFE_INTEGER + 1],
    [text(2), 'abc'],
    [text(2), 'éé'],
    [opaque(2), bytes('00')],
    [list(uint, 1), [1, 2]],
  ] as const) {
    expect(() => encode(shape as never, value as never), String(value)).toThrow(XdrError);
  }
});

it('reads back whatever it writes', () => {
  const shape = struct({
    word: uint,
    signed: int,
    long: hyper,
    name: text(400),
    maybe: optional(text(400)),
    many: list(struct({ id: opaque(16), on: optional(int) }), 20),
  });
  const word = (fill: string) => fc.string({ unit: 'binary', maxLength: 90 }).map((value) => value + fill);
  const value = fc.record({
    word: fc.nat({ max: 4_294_967_295 }),
    signed: fc.integer({ min: -2_147_483_648, max: 2_147_483_647 }),
    long: fc.maxSafeNat(),
    name: word(''),
    maybe: fc.option(word('x')),
    many: fc.array(
      fc.record({
        id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        on: fc.option(fc.integer({ min: -9, max: 9 })),
      }),
      { maxLength: 20 },
    ),
  });
  fc.assert(
    fc.property(value, (before) => {
      const written = encode(shape, before);
      expect(written.length % 4).toBe(0);
      expect(decode(shape, written)).toEqual(before);
    }),
  );
});
