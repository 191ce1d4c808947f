import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseRegistry } from '../../../src/backends/registries.js';
import {
  checkDriverPair,
  parseAccessMode,
  parseDiskBus,
  parseDiskFormat,
  parseTargetDevice,
} from '../../../src/core/disk.js';
import { parseDiskOptions, parseSerial } from '../../../src/core/disk-options.js';
import { FairleadError } from '../../../src/core/errors.js';
import { parseConsumer, parseDiskName, userOf } from '../../../src/core/names.js';
import { parseDecimal, parseDuration, parseInteger, parsePort } from '../../../src/core/numbers.js';
import { isBelow, parseAbsolutePath } from '../../../src/core/paths.js';
import { cutToBytes, escapeForLog, hasForbidden, utf8Length } from '../../../src/core/text.js';

const range = { min: 0, max: 1_000_000 };
const parsers: Readonly<Record<string, (value: unknown) => unknown>> = {
  parseVolume: (value) => parseVolume(value),
  parseRegistry: (value) => parseRegistry(value, 'url'),
  parseConsumer: (value) => parseConsumer(value, 'url'),
  parseDiskName: (value) => parseDiskName(value, 'url'),
  parseAbsolutePath: (value) => parseAbsolutePath(value, 'url'),
  parseInteger: (value) => parseInteger(value, 'url', range),
  parseDecimal: (value) => parseDecimal(value, 'url', range),
  parseDuration: (value) => parseDuration(value, 'url', range),
  parsePort: (value) => parsePort(value, 'url'),
  parseDiskFormat: (value) => parseDiskFormat(value, 'url'),
  parseAccessMode: (value) => parseAccessMode(value, 'url'),
  parseDiskBus: (value) => parseDiskBus(value, 'url'),
  parseTargetDevice: (value) => parseTargetDevice(value, 'url'),
  parseSerial: (value) => parseSerial(value, 'url'),
  parseDiskOptions: (value) => parseDiskOptions(value, 'url'),
  checkDriverPair: (value) => checkDriverPair(value, value, 'url'),
};

/** Pieces from which real and nearly real input is made far more often than from random characters. */
const piece = fc.oneof(
  fc.constantFrom(
    'quobyte://',
    'local://',
    '://',
    'cli:',
    'nova:',
    'vm:',
    '/',
    '//',
    '..',
    '.',
    '-',
    '-o',
    ',',
    ':',
    '@',
    '|',
  ),
  fc.constantFrom(
    '[::1]',
    '[',
    ']',
    '::',
    '1.2.3.4',
    'reg',
    '7861',
    'é',
    '\u0301',
    ' ',
    '\n',
    '\0',
    '\u202e',
    '\ud800',
    '?',
    '#',
    '%',
  ),
  fc.constantFrom(
    '60',
    's',
    'ms',
    '1e3',
    '0x10',
    '6f1d2a3b-4c5d-4e6f-8a9b-0c1d2e3f4a5b',
    'volume-1',
    '=',
    '~',
    '+',
    '_',
  ),
  fc.string({ unit: 'binary', maxLength: 5 }),
  fc.string({ maxLength: 5 }),
);
const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
/** Long enough not to stand in a message by chance. */
const marked = text.map((around) => `qzx${around}qzx`);

describe.each(Object.entries(parsers))('%s', (_, parse) => {
  it('throws nothing but a refusal that names its field', () => {
    fc.assert(
      fc.property(
        fc.oneof(text, fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true })),
        (value) => {
          try {
            parse(value);
          } catch (error) {
            if (!(error instanceof FairleadError)) throw error;
            expect(error.code).toBe('invalid-argument');
            expect(error.field).toMatch(/^url/);
            expect(error.cause).toBeUndefined();
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('never repeats what it refuses', () => {
    fc.assert(
      fc.property(marked, fc.constantFrom('', 'quobyte://', 'local:///', 'r/', 'cli:', 'nova:'), (value, head) => {
        try {
          parse(`${head}${value}`);
        } catch (error) {
          if (!(error instanceof FairleadError)) throw error;
          expect(error.message).not.toContain('qzx');
          expect(hasForbidden(error.message)).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** What was accepted, or null. */
function accepted<Value>(parse: () => Value): Value | null {
  try {
    return parse();
  } catch (error) {
    if (error instanceof FairleadError) return null;
    throw error;
  }
}

describe('what is accepted', () => {
  it('has no forbidden character, no blank and nothing like an option', () => {
    fc.assert(
      fc.property(text, (value) => {
        const volume = accepted(() => parseVolume(value));
        if (volume !== null) {
          expect(volume.export).not.toMatch(/^-|\/-|,-|\s|\.\.\/|\/\.\.$/u);
          expect(hasForbidden(volume.export)).toBe(false);
          expect(utf8Length(volume.export)).toBeLessThanOrEqual(4096);
          expect(parseVolume(volume.url)).toEqual(volume);
          expect(value.endsWith(volume.export)).toBe(true);
        }
        const disk = accepted(() => parseDiskName(value, 'disk'));
        if (disk !== null) {
          expect(disk).not.toMatch(/^-|\/|^\.{1,2}$/);
          expect(hasForbidden(disk)).toBe(false);
          expect(isBelow(`/base/${disk}`, '/base')).toBe(true);
        }
        const path = accepted(() => parseAbsolutePath(value, 'path'));
        if (path !== null) expect(path).toMatch(/^(?:\/(?!\.{1,2}(?:\/|$))[^/\s]+)+$/u);
      }),
      { numRuns: 5000 },
    );
  });

  it('as a consumer reads back as itself, and so does its user', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc
            .tuple(fc.constantFrom('nova', 'vm'), fc.uuid(), fc.boolean())
            .map(([k, u, up]) => `${k}:${up ? u.toUpperCase() : u}`),
          fc.tuple(fc.constantFrom('csi', 'docker', 'cli'), text).map(([k, id]) => `${k}:${id}`),
        ),
        (value) => {
          const consumer = accepted(() => parseConsumer(value, 'consumer'));
          if (consumer === null) return;
          expect(parseConsumer(consumer, 'consumer')).toBe(consumer);
          expect(consumer).toMatch(/^[\x21-\x7e]+$/);
          expect(userOf(parseConsumer(userOf(consumer), 'consumer'))).toBe(userOf(consumer));
        },
      ),
    );
  });
});

describe('shown text', () => {
  it('is one line without forbidden characters, and two texts never look alike', () => {
    const wild = fc.string({ unit: 'binary', maxLength: 20 });
    fc.assert(
      fc.property(wild, wild, (one, other) => {
        expect(hasForbidden(escapeForLog(one))).toBe(false);
        expect(escapeForLog(one) === escapeForLog(other)).toBe(one === other);
      }),
      { numRuns: 2000 },
    );
  });

  it('is cut at a character, as late as possible', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.nat(60), (whole, bytes) => {
        const cut = cutToBytes(whole, bytes);
        expect(whole.startsWith(cut)).toBe(true);
        expect(utf8Length(cut)).toBeLessThanOrEqual(bytes);
        const [next] = whole.slice(cut.length);
        const following = next === undefined ? '' : String.fromCodePoint(whole.codePointAt(cut.length) ?? 0);
        if (following !== '') expect(utf8Length(cut + following)).toBeGreaterThan(bytes);
      }),
      { numRuns: 1000 },
    );
  });
});
