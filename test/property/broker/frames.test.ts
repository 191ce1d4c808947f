import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REQUESTS } from '../../../src/broker/protocol.js';
import { encodeFrame, FrameDecoder } from '../../../src/core/frames.js';
import { readReply, readRequestHead } from '../../../src/link/forms.js';
import { MAX_FRAME_BYTES } from '../../../src/core/limits.js';

/** Cuts `bytes` at the given places and pushes the pieces. */
function decode(bytes: Uint8Array, cuts: readonly number[]): { values: unknown[]; broken: string | null } {
  const decoder = new FrameDecoder();
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  const values: unknown[] = [];
  let broken: string | null = null;
  for (let index = 0; index + 1 < places.length; index += 1) {
    const decoded = decoder.push(bytes.subarray(places[index], places[index + 1]));
    values.push(...decoded.values);
    ({ broken } = decoded);
  }
  return { values, broken };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function framed(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
}

const cuts = fc.array(fc.nat(), { maxLength: 40 });
const message = fc.dictionary(fc.string(), fc.jsonValue());

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), cuts, (messages, places) => {
        const { values, broken } = decode(joined(messages.map(encodeFrame)), places);
        expect(broken).toBeNull();
        expect(JSON.stringify(values)).toBe(JSON.stringify(messages));
      }),
    );
  });

  it('of any garbage break the connection or give values, the same ones however it is cut, and never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), cuts, (bytes, places) => {
        const whole = decode(bytes, []);
        const pieces = decode(bytes, places);
        expect(pieces).toEqual(whole);
      }),
    );
  });

  it('of any body that is not JSON in UTF-8 break the connection, and nothing after them is read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 200 }), cuts, (body, places) => {
        const sound = encodeFrame({ id: 1 });
        const { values, broken } = decode(joined([sound, framed(body), sound]), places);
        let readable = true;
        try {
          JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          readable = false;
        }
        expect(broken === null).toBe(readable);
        expect(values).toHaveLength(readable ? 3 : 1);
      }),
    );
  });

  it.each([
    ['a byte that is no UTF-8', [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['half of a surrogate pair', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a byte order mark', [0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
  ])('with %s break the connection', (_, body) => {
    expect(decode(framed(Uint8Array.from(body)), [])).toMatchObject({
      values: [],
      broken: expect.any(String) as string,
    });
  });

  it('of a forbidden length break the connection before their body comes', () => {
    const lengths = fc.oneof(
      fc.integer({ min: 0, max: 1 }),
      fc.integer({ min: MAX_FRAME_BYTES + 1, max: 0xffff_ffff }),
    );
    fc.assert(
      fc.property(lengths, cuts, (length, places) => {
        const header = new Uint8Array(4);
        new DataView(header.buffer).setUint32(0, length);
        expect(decode(header, places).broken).not.toBeNull();
      }),
    );
  });

  it('hold JSON of any depth, own __proto__ and all, without touching a prototype', () => {
    const deep = new TextEncoder().encode(`${'['.repeat(500_000)}${']'.repeat(500_000)}`);
    expect(decode(framed(deep), []).broken).toBeNull();
    const { values } = decode(framed(new TextEncoder().encode('{"__proto__":{"id":1,"verb":"hello"}}')), []);
    expect(readRequestHead(REQUESTS, values[0])).toBeNull();
    expect(Object.hasOwn({}, 'verb')).toBe(false);
  });

  it('larger than the limit cannot be made', () => {
    expect(() => encodeFrame({ text: 'x'.repeat(MAX_FRAME_BYTES) })).toThrow(RangeError);
  });
});

describe('schemas', () => {
  it('take any value without throwing', () => {
    const odd = fc.oneof(fc.jsonValue(), fc.object({ withNullPrototype: true }), fc.anything());
    fc.assert(
      fc.property(odd, (value) => {
        readReply(value);
        readRequestHead(REQUESTS, value);
        for (const schema of Object.values(REQUESTS)) schema.safeParse(value);
      }),
    );
  });

  it('know no verb but their own', () => {
    fc.assert(
      fc.property(fc.string(), (verb) => {
        expect(readRequestHead(REQUESTS, { id: 1, verb }) !== null).toBe(Object.keys(REQUESTS).includes(verb));
      }),
    );
  });
});
