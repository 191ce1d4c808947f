import { describe, expect, it } from 'vitest';
import {
  parseDecimal,
  parseDiskBytes,
  parseDuration,
  parseInteger,
  parsePort,
  parseSize,
  spellDuration,
} from '../../../src/core/numbers.js';
import { refusalOf } from '../../refusal.js';

const range = { min: 0, max: Number.MAX_SAFE_INTEGER };

describe('an integer', () => {
  it.each([0, 1, 7n, 2 ** 53 - 1])('is kept: %s', (value) => {
    expect(parseInteger(value, 'n', range)).toBe(Number(value));
  });

  it.each([
    NaN,
    Infinity,
    -Infinity,
    -1,
    -1n,
    -0,
    0.5,
    1e-9,
    2 ** 53,
    2n ** 53n,
    2n ** 64n,
    '5',
    '1e3',
    '0x10',
    '',
    true,
    null,
    undefined,
    [],
    [5],
    {},
    new Date(5),
  ])('is refused: %s', (value) => {
    expect(refusalOf(() => parseInteger(value, 'n', range)).message).toMatch(/^n must be a whole number from 0 to/);
  });

  it('is inside its range, ends included', () => {
    expect(parseInteger(2, 'n', { min: 2, max: 4 })).toBe(2);
    expect(parseInteger(4, 'n', { min: 2, max: 4 })).toBe(4);
    refusalOf(() => parseInteger(1, 'n', { min: 2, max: 4 }));
    refusalOf(() => parseInteger(5, 'n', { min: 2, max: 4 }));
  });
});

describe('a decimal text', () => {
  it.each([
    ['0', 0],
    ['10', 10],
    ['9007199254740991', 2 ** 53 - 1],
  ])('is read: %s', (text, value) => {
    expect(parseDecimal(text, 'n', range)).toBe(value);
  });

  it.each([
    'NaN',
    '-1',
    '-0',
    '+1',
    '0.5',
    '1.0',
    '9007199254740992',
    '1e3',
    '0x10',
    '0b1',
    '0o7',
    '007',
    '1_000',
    '1,000',
    ' 1',
    '1 ',
    '1\n',
    '',
    '٣',
    '１',
    'abc',
    'Infinity',
    '99999999999999999999',
    5,
    null,
  ])('is refused: %j', (text) => {
    refusalOf(() => parseDecimal(text, 'n', range));
  });
});

describe('a port', () => {
  it.each([
    ['1', 1],
    ['7861', 7861],
    ['65535', 65_535],
  ])('%s', (text, port) => {
    expect(parsePort(text, 'p')).toBe(port);
  });

  it.each(['0', '65536', '-1', '08', '1e3', '0x10', '', ' 80', '80/', 'http', 80])('is refused: %j', (text) => {
    expect(refusalOf(() => parsePort(text, 'p')).message).toContain('1 to 65535');
  });
});

describe('a duration', () => {
  const day = { min: 1, max: 86_400_000 };

  it.each([
    ['500ms', 500],
    ['60s', 60_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ])('%s', (text, ms) => {
    expect(parseDuration(text, 'probe_timeout', day)).toBe(ms);
  });

  it.each([
    '60',
    60,
    60n,
    's',
    '',
    '-1s',
    '+1s',
    '0.5s',
    '1e3s',
    '0x10s',
    'NaNs',
    '01s',
    '1 s',
    ' 1s',
    '1s ',
    '1s\n',
    '1S',
    '1sec',
    '1m30s',
    '1d',
    '9007199254740992ms',
    '9999999999999999999h',
    '٣s',
    null,
    {},
  ])('is refused: %s', (text) => {
    expect(refusalOf(() => parseDuration(text, 'probe_timeout', day)).field).toBe('probe_timeout');
  });

  it.each([
    [1, '1ms'],
    [1500, '1500ms'],
    [60_000, '60s'],
    [3_600_000, '60m'],
    [86_400_000, '24h'],
  ])('of %i ms is spelt %s, and read back', (ms, text) => {
    expect(spellDuration(ms)).toBe(text);
    expect(parseDuration(text, 'd', { min: ms, max: ms })).toBe(ms);
  });

  it('is inside its range, and the message says which', () => {
    refusalOf(() => parseDuration('0s', 'd', day));
    expect(refusalOf(() => parseDuration('2m', 'd', { min: 100, max: 60_000 })).message).toBe(
      'd must be between 100ms and 60s.',
    );
  });
});

describe("a disk's size", () => {
  it.each([
    ['512', 512],
    ['1K', 1024],
    ['1k', 1024],
    ['3M', 3_145_728],
    ['10G', 10_737_418_240],
    ['10g', 10_737_418_240],
    ['2T', 2_199_023_255_552],
    ['1073741824', 1_073_741_824],
    ['1024T', 2 ** 50],
  ])('%s', (text, bytes) => {
    expect(parseSize(text, 'size')).toBe(bytes);
    expect(parseDiskBytes(bytes, 'bytes')).toBe(bytes);
  });

  it.each([
    '',
    '0',
    '0G',
    '511',
    '513',
    '-1G',
    '+1G',
    '1.5G',
    '1e9',
    '0x400',
    '01G',
    '1 G',
    ' 1G',
    '1G\n',
    '1GB',
    '1GiB',
    '1B',
    '1P',
    'G',
    '1025T',
    '9999999999999999T',
    '9007199254740993',
    '99999999999999999999',
    '1\u212a',
    '٣G',
    1024,
    null,
    {},
  ])('is refused: %j', (text) => {
    expect(refusalOf(() => parseSize(text, 'size')).field).toBe('size');
  });

  it.each([0, 511, 513, -512, 512.5, NaN, Infinity, 2 ** 50 + 512, 2 ** 53, '512', 512n, null])(
    'is refused in bytes: %s',
    (value) => {
      expect(refusalOf(() => parseDiskBytes(value, 'bytes')).message).toContain('multiple of 512');
    },
  );
});
