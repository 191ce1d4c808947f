// Options of a disk from outside: what is taken, what is refused and under which name. That QEMU and libvirt refuse the same is
// seen in test/real/core/disk-schema.test.ts.

import { describe, expect, it } from 'vitest';
import { parseDiskOptions, parseSerial } from '../../../src/core/disk-options.js';
import { refusalOf } from '../../refusal.js';

const SECRET = '6E1A2C0E-0000-4000-8000-000000000001';

describe('options of a disk', () => {
  it('absent means none', () => {
    expect(parseDiskOptions(undefined, 'options')).toEqual({});
    expect(parseDiskOptions({}, 'options')).toEqual({});
    expect(parseDiskOptions({ shareable: false, serial: undefined }, 'options')).toEqual({});
  });

  it('are taken whole, as values of their own', () => {
    const given = {
      serial: 'vol-1',
      discard: 'unmap',
      iotune: { read_bytes_sec: 0, total_iops_sec: 10, total_iops_sec_max: 1_000_000_000_000_000, size_iops_sec: 1 },
      blockSizes: { logical: 512, physical: 2_097_152 },
      shareable: true,
      alias: 'ua-A_b-1',
      encryption: { secret: SECRET },
      unit: 16_383,
    };
    const parsed = parseDiskOptions(given, 'options');
    expect(parsed).toEqual({ ...given, encryption: { secret: SECRET.toLowerCase() } });
    expect(parsed.iotune).not.toBe(given.iotune);
    expect(parsed.blockSizes).not.toBe(given.blockSizes);
  });

  const refused: readonly [unknown, string][] = [
    [null, 'options'],
    [[], 'options'],
    ['serial', 'options'],
    [{ wwn: 'x' }, 'options'],
    [JSON.parse('{"__proto__":{"unit":1}}'), 'options'],
    [{ serial: '-x' }, 'options.serial'],
    [{ serial: null }, 'options.serial'],
    [{ discard: 'ignore' }, 'options.discard'],
    [{ discard: true }, 'options.discard'],
    [{ iotune: [] }, 'options.iotune'],
    [{ iotune: { group_name: 'g' } }, 'options.iotune'],
    [{ iotune: { total_bytes_sec: '5' } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_bytes_sec: -1 } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_bytes_sec: 0.5 } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_bytes_sec: Number.NaN } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_bytes_sec: 1_000_000_000_000_001 } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_bytes_sec: 5, read_bytes_sec: 1 } }, 'options.iotune.total_bytes_sec'],
    [{ iotune: { total_iops_sec: 5, write_iops_sec: 1 } }, 'options.iotune.total_iops_sec'],
    [
      { iotune: { read_iops_sec: 1, total_iops_sec_max: 9, read_iops_sec_max: 9 } },
      'options.iotune.total_iops_sec_max',
    ],
    [{ iotune: { read_bytes_sec_max: 9 } }, 'options.iotune.read_bytes_sec_max'],
    [{ iotune: { write_iops_sec: 9, write_iops_sec_max: 8 } }, 'options.iotune.write_iops_sec_max'],
    [{ iotune: { size_iops_sec: 512 } }, 'options.iotune.size_iops_sec'],
    [{ blockSizes: {} }, 'options.blockSizes'],
    [{ blockSizes: { logical: 256, physical: 512 } }, 'options.blockSizes.logical'],
    [{ blockSizes: { physical: 1000 } }, 'options.blockSizes.physical'],
    [{ blockSizes: { physical: 4_194_304 } }, 'options.blockSizes.physical'],
    [{ blockSizes: { physical: '4096' } }, 'options.blockSizes.physical'],
    [{ blockSizes: { logical: 4096 } }, 'options.blockSizes.logical'],
    [{ blockSizes: { logical: 4096, physical: 512 } }, 'options.blockSizes.logical'],
    [{ blockSizes: { io: 1 } }, 'options.blockSizes'],
    [{ shareable: 'yes' }, 'options.shareable'],
    [{ alias: 'ua-' }, 'options.alias'],
    [{ alias: 'virtio-disk0' }, 'options.alias'],
    [{ alias: 'ua-a.b' }, 'options.alias'],
    [{ alias: `ua-${'x'.repeat(126)}` }, 'options.alias'],
    [{ encryption: {} }, 'options.encryption.secret'],
    [{ encryption: { secret: 'x' } }, 'options.encryption.secret'],
    [{ encryption: { secret: SECRET, format: 'luks2' } }, 'options.encryption'],
    [{ unit: 16_384 }, 'options.unit'],
    [{ unit: -1 }, 'options.unit'],
    [{ unit: '1' }, 'options.unit'],
  ];
  it.each(refused)('%j is refused at %s', (value, field) => {
    expect(refusalOf(() => parseDiskOptions(value, 'options')).field).toBe(field);
  });

  it('serial: what libvirt takes', () => {
    for (const value of ['a', 'b1f5f0a6-7c25', 'A b_c.+-']) expect(parseSerial(value, 's')).toBe(value);
    for (const value of ['', '-a', 'a<b', 'a/b', 'a\nb', 'é', 'x'.repeat(129), 7, null])
      refusalOf(() => parseSerial(value, 's'));
  });
});
