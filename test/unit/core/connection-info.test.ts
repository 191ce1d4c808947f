// Nova's connection record: what is taken, what is refused and by which name, and that nothing else gets through (R2, R5, R21).

import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseConnectionInfo, parseRecordIdentity } from '../../../src/core/connection-info.js';
import { refusalOf } from '../../refusal.js';

const ID = '6e1a2c0e-0000-4000-8000-000000000001';
const grammar = { parseVolume };

/** A record as Cinder's Quobyte driver and Nova make it, with changes to it and to its data. */
function record(changes: object = {}, data: object = {}): Record<string, unknown> {
  return {
    driver_volume_type: 'quobyte',
    data: {
      export: 'quobyte://192.168.1.1/volume-00001',
      name: `volume-${ID}`,
      format: 'raw',
      options: null,
      qos_specs: null,
      access_mode: 'rw',
      encrypted: false,
      cacheable: false,
      enforce_multipath: false,
      device_path: '/etc/shadow',
      ...data,
    },
    mount_point_base: '/var/lib/cinder/mnt',
    serial: ID,
    status: 'reserved',
    attached_at: '',
    ...changes,
  };
}
const parse = (value: unknown): ReturnType<typeof parseConnectionInfo> => parseConnectionInfo(value, 'info', grammar);

describe('a sound record', () => {
  it('becomes a value of its own, with the names that Cinder and Nova use', () => {
    const given = frozen(record());
    const before = JSON.stringify(given);
    expect(parse(given)).toEqual({
      volume: parseVolume('quobyte://192.168.1.1/volume-00001'),
      disk: `volume-${ID}`,
      format: 'raw',
      access: 'read-write',
      options: { serial: ID, alias: `ua-${ID}` },
      encrypted: false,
      unknownLimits: 0,
    });
    expect(JSON.stringify(given)).toBe(before);
  });

  it('may say everything', () => {
    const qos = { total_bytes_sec: '1048576', total_iops_sec: 500, minIOPS: '7', write_iops_sec: null };
    const data = {
      qos_specs: qos,
      format: 'qcow2',
      access_mode: 'ro',
      discard: true,
      encrypted: true,
      volume_id: 'v_1',
    };
    const sizes = { logical_block_size: '512', physical_block_size: 4096 };
    expect(parse(record({ multiattach: true, serial: undefined }, { ...data, ...sizes }))).toMatchObject({
      format: 'qcow2',
      access: 'read-only',
      options: {
        discard: 'unmap',
        iotune: { total_bytes_sec: 1_048_576, total_iops_sec: 500 },
        blockSizes: { logical: 512, physical: 4096 },
        shareable: true,
        alias: 'ua-v_1',
      },
      encrypted: true,
      unknownLimits: 1,
    });
  });

  it('may say next to nothing', () => {
    const least = { driver_volume_type: 'quobyte', data: { export: 'r/v', name: 'd' } };
    expect(parse(least)).toMatchObject({ format: 'raw', access: 'read-write', options: {}, encrypted: false });
  });

  it('has no alias where libvirt would drop it', () => {
    expect(parse(record({}, { volume_id: 'a.b' })).options.alias).toBeUndefined();
    expect(parse(record({ serial: 'a b' })).options).toEqual({ serial: 'a b' });
  });

  it.each(['192.168.1.1/volume-00001', 'reg1:7861,reg2:7861,reg3/vol', '[2001:db8::1]:7861/vol'])(
    'names a volume as %s',
    (exported) => {
      expect(parse(record({}, { export: exported })).volume.export).toBe(exported);
    },
  );

  it('keeps nothing that it has no name for, however deep', () => {
    const deep: unknown = JSON.parse('[{"a":'.repeat(10_000) + '1' + '}]'.repeat(10_000));
    const text = JSON.stringify(parse(record({ later: 'later-secret' }, { auth_password: 'data-secret' })));
    expect(text).not.toMatch(/secret|shadow|cinder|reserved/);
    expect(parse(record({ later: deep }, { deep })).disk).toBe(`volume-${ID}`);
  });
});

describe('is refused at', () => {
  const data = (member: string, value: unknown): [unknown, string] => [
    record({}, { [member]: value }),
    `info.data.${member}`,
  ];
  const qos = (member: string, value: unknown): [unknown, string] => [
    record({}, { qos_specs: { [member]: value } }),
    `info.data.qos_specs.${member}`,
  ];
  const exports = [
    '-o suid,dev',
    'quobyte://-o,suid,dev',
    'quobyte:///v',
    'quobyte://r/',
    'quobyte://quobyte://r/v',
    'Quobyte://r/v',
    'http://r/v',
    'local:///srv/pool/v',
    'r/../v',
    'admin:hunter2@r/v',
    'r/v?token=hunter2',
    'r/v v',
    'r/v\t',
    'r/v\n',
    'r/v\0',
    'r/\u{1b}v',
    'r/\u{202e}v',
    'r/\ud800v',
    `r/${'v'.repeat(4096)}`,
    7,
    null,
    [],
    {},
    undefined,
  ];
  const names = ['../../etc/shadow', '/etc/shadow', 'a/b', '.', '..', '', 'a\0', 'a\n', 'x'.repeat(256), '-x', null, 7];
  const cases: readonly [unknown, string][] = [
    [null, 'info'],
    [undefined, 'info'],
    [[], 'info'],
    ['quobyte', 'info'],
    [{}, 'info.driver_volume_type'],
    [record({ driver_volume_type: 'nfs' }), 'info.driver_volume_type'],
    [record({ driver_volume_type: ['quobyte'] }), 'info.driver_volume_type'],
    [record({ data: null }), 'info.data'],
    [record({ data: [] }), 'info.data'],
    [JSON.parse('{"driver_volume_type":"quobyte","__proto__":{"data":{"export":"r/v","name":"d"}}}'), 'info'],
    [record({ data: JSON.parse('{"__proto__":{"export":"r/v","name":"d"}}') as unknown }), 'info.data'],
    [record({}, { qos_specs: JSON.parse('{"__proto__":{"total_iops_sec":1}}') as unknown }), 'info.data.qos_specs'],
    [record({}, { export: JSON.parse('{"__proto__":{"x":"r/v"}}') as unknown }), 'info.data.export'],
    ...exports.map((value) => data('export', value)),
    ...names.map((value) => data('name', value)),
    ...['RAW', 'vmdk', 'raw,file.driver=x', null, 7].map((value) => data('format', value)),
    ...['RO', 'readonly', '', 7, true].map((value) => data('access_mode', value)),
    ...['suid,dev', '-o suid', {}, ['x'], 7].map((value) => data('options', value)),
    ...['yes', 1, 'true', {}].map((value) => data('discard', value)),
    ...['yes', 1, {}].map((value) => data('encrypted', value)),
    ...[7, {}, 'a\nb', 'x'.repeat(256)].map((value) => data('volume_id', value)),
    ...['', [], 'total_iops_sec=1', 7, true].map((value) => data('qos_specs', value)),
    ...['', '-1', '1e3', '0x10', '0.5', '007', ' 5', '5 ', '٥', '9007199254740993', -1, 0.5, true, {}, [5]].map(
      (value) => qos('total_bytes_sec', value),
    ),
    ...['1000000000000001', 2 ** 53].map((value) => qos('size_iops_sec', value)),
    ...qosPairs(),
    ...['4096', 1000, '0', -512, 4_194_304].map((value) => data('logical_block_size', value)),
    ...['256', '1000', 'big', true].map((value) => data('physical_block_size', value)),
    ...['a/b', '', '-a', 'x'.repeat(129), 7, {}, '<x>'].map((value): [unknown, string] => [
      record({ serial: value }),
      'info.serial',
    ]),
    ...['yes', 1, {}].map((value): [unknown, string] => [record({ multiattach: value }), 'info.multiattach']),
    ...['/mnt\n', 'x'.repeat(4096), 7, {}].map((value): [unknown, string] => [
      record({ mount_point_base: value }),
      'info.mount_point_base',
    ]),
  ];

  function qosPairs(): readonly [unknown, string][] {
    return [
      [
        record({}, { qos_specs: { total_bytes_sec: '5', write_bytes_sec: '5' } }),
        'info.data.qos_specs.total_bytes_sec',
      ],
      [record({}, { qos_specs: { read_iops_sec_max: '5' } }), 'info.data.qos_specs.read_iops_sec_max'],
    ];
  }

  it.each(cases.map(([value, field], index) => ({ value, field, index })))(
    '$field (case $index)',
    ({ value, field }) => {
      const refused = refusalOf(() => parse(value));
      expect(refused.field).toBe(field);
      expect(refused.message).not.toMatch(/hunter2|shadow|suid/);
    },
  );
});

describe('what is needed to disconnect', () => {
  it('is volume and disk, whatever else the record says', () => {
    const odd = record(
      { serial: 7, multiattach: 'x' },
      { qos_specs: 'x', format: 'vmdk', access_mode: 'x', options: 'suid' },
    );
    expect(parseRecordIdentity(odd, 'info', grammar)).toEqual({
      volume: parseVolume('quobyte://192.168.1.1/volume-00001'),
      disk: `volume-${ID}`,
    });
  });

  it('is refused as any other', () => {
    expect(refusalOf(() => parseRecordIdentity(record({}, { name: '..' }), 'info', grammar)).field).toBe(
      'info.data.name',
    );
    expect(refusalOf(() => parseRecordIdentity(record({ data: 1 }), 'info', grammar)).field).toBe('info.data');
  });
});

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part as object);
  return Object.freeze(value);
}
