import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readQcow2 } from '../../../src/core/qcow2.js';
import { qcow2 } from '../../unit/core/qcow2-images.js';

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }).filter((text) => !text.includes('\0'));

describe('headers', () => {
  it('say what was written into them', () => {
    fc.assert(
      fc.property(name, fc.constantFrom('raw', 'qcow2'), fc.option(name), fc.integer({ min: 9, max: 21 }), (...all) => {
        const [backing, format, data, clusterBits] = all;
        const extensions = data === null ? [] : ([[0x44415441, data]] as const);
        const header = readQcow2(qcow2({ backing, format, extensions, clusterBits: Math.max(clusterBits, 13) }));
        expect(header).toMatchObject({ backing: { name: backing, format }, dataFile: data, size: 8_388_608 });
      }),
    );
  });

  it('of any bytes are read or refused, quickly', () => {
    const sound = qcow2({ backing: 'base', extensions: [[0x44415441, 'data']] });
    const spoilt = fc
      .array(fc.tuple(fc.nat({ max: sound.length - 1 }), fc.nat({ max: 255 })), { maxLength: 12 })
      .map((changes) => {
        const bytes = Uint8Array.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(spoilt, fc.uint8Array({ maxLength: 4096 })), fc.nat({ max: 4096 }), (bytes, length) => {
        const header = readQcow2(bytes.subarray(0, length));
        if ('fault' in header) return;
        for (const named of [header.backing?.name, header.dataFile]) expect(named ?? '').not.toContain('\0');
        expect(Number.isSafeInteger(header.size)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
