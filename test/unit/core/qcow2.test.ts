import { describe, expect, it } from 'vitest';
import { readQcow2 } from '../../../src/core/qcow2.js';
import { qcow2 } from './qcow2-images.js';

/** What qemu-img 7.2 wrote: `create -f qcow2 -o data_file=df.raw d.q 8M`, up to the first zeros. */
const WITH_DATA_FILE =
  'UUZJ+wAAAAMAAAAAAAAAAAAAAAAAAAAQAAAAAACAAAAAAAAAAAAAAQAAAAAAAwAAAAAAAAABAAAAAAABAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAABAAAAHAAAAAAAAAAAERBVEEAAAAGZGYucmF3AABoA/hXAAABgAAAZGlydHkgYml0AAAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABY29ycnVwdCBiaXQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAAAAAACZXh0ZXJuYWwgZGF0YSBmaWxlAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADY29tcHJlc3Npb24gdHlwZQAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEZXh0ZW5kZWQgTDIgZW50cmllcwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' +
  'AAEAbGF6eSByZWZjb3VudHMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAYml0bWFwcwAAAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIBcmF3IGV4dGVybmFsIGRhdGE=';
/** `create -f qcow2 -b base.raw -F raw o.q 8M`. */
const WITH_BACKING =
  'UUZJ+wAAAAMAAAAAAAACEAAAAAgAAAAQAAAAAACAAAAAAAAAAAAAAQAAAAAAAwAAAAAAAAABAAAAAAABAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAHAAAAAAAAAAAOJ5KsoAAAADcmF3AAAAAABoA/hXAAABgAAAZGlydHkgYml0AAAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABY29ycnVwdCBiaXQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAAAAAACZXh0ZXJuYWwgZGF0YSBmaWxlAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADY29tcHJlc3Npb24gdHlwZQAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEZXh0ZW5kZWQgTDIgZW50cmllcwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' +
  'AAEAbGF6eSByZWZjb3VudHMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAYml0bWFwcwAAAAAAAAAAAAAAAAAAAAAA' +
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIBcmF3IGV4dGVybmFsIGRhdGEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' +
  'AAAAYmFzZS5yYXc=';

const bytes = (base64: string): Uint8Array => {
  // A cluster, as it stands in the file.
  const image = new Uint8Array(65_536);
  image.set(Buffer.from(base64, 'base64'));
  return image;
};

describe('a header', () => {
  it('that qemu-img wrote is read', () => {
    expect(readQcow2(bytes(WITH_DATA_FILE))).toEqual({
      version: 3,
      size: 8_388_608,
      encryption: 'none',
      backing: null,
      dataFile: 'df.raw',
    });
    expect(readQcow2(bytes(WITH_BACKING))).toMatchObject({ backing: { name: 'base.raw', format: 'raw' } });
  });

  it('of version 2 has no features', () => {
    expect(readQcow2(qcow2({ version: 2 }))).toMatchObject({ version: 2, dataFile: null, backing: null });
    expect(readQcow2(qcow2({ version: 2, backing: 'base', format: null }))).toMatchObject({
      backing: { name: 'base', format: null },
    });
  });

  it('tells of encryption', () => {
    expect(readQcow2(qcow2({ crypt: 1 }))).toMatchObject({ encryption: 'aes' });
    expect(readQcow2(qcow2({ crypt: 2 }))).toMatchObject({ encryption: 'luks' });
  });

  it.each([
    ['nothing', new Uint8Array(0)],
    ['a raw disk', new Uint8Array(4096)],
    ['another version', qcow2({ version: 4 })],
    ['an unknown encryption', qcow2({ crypt: 3 })],
    ['an impossible cluster', qcow2({ clusterBits: 8 })],
    ['a huge cluster', qcow2({ clusterBits: 40 })],
    ['a huge size', qcow2({ size: 2n ** 63n })],
    ['a header longer than its cluster', qcow2({ headerBytes: 70_000 })],
    ['a header shorter than it can be', qcow2({ headerBytes: 72 })],
    ['a name beyond the first cluster', qcow2({ backing: 'base', backingAt: 65_537n })],
    ['a name far away', qcow2({ backing: 'base', backingAt: 2n ** 62n })],
    ['an empty name', qcow2({ backing: '', backingAt: 200n })],
    ['a name that is too long', qcow2({ backing: 'a'.repeat(1024) })],
    ['a name with a NUL', qcow2({ backing: 'base\0/etc/shadow' })],
    ['a name that is no UTF-8', qcow2({ backing: Buffer.from([0xff, 0xfe]) })],
    [
      'two data files',
      qcow2({
        extensions: [
          [0x44415441, 'one'],
          [0x44415441, 'two'],
        ],
      }),
    ],
    [
      'two formats',
      qcow2({
        backing: 'base',
        format: null,
        extensions: [
          [0xe2792aca, 'raw'],
          [0xe2792aca, 'qcow2'],
        ],
      }),
    ],
    ['a data file that is wanted and not named', qcow2({ features: 4n })],
    ['an extension that is too long', qcow2({ extensions: [[0x1234, Buffer.alloc(70_000)]] })],
    ['more extensions than anybody needs', qcow2({ extensions: Array.from({ length: 65 }, () => [7, 'x']) })],
    ['half a header', qcow2({}).subarray(0, 80)],
    ['a name that is cut off', qcow2({ backing: 'base' }).subarray(0, 122)],
  ])('is refused: %s', (_, image) => {
    expect(readQcow2(image)).toHaveProperty('fault');
  });

  it('with a data file but without its feature bit names it all the same', () => {
    expect(readQcow2(qcow2({ extensions: [[0x44415441, 'data']] }))).toMatchObject({ dataFile: 'data' });
  });
});
