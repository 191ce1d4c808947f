// Connection records and disk descriptions as Nova might hand them to a volume driver, and as somebody with access to its database might
// have changed them: good values far more often than bad ones, every option together with every other. The same ones in every run.

import fc from 'fast-check';

/** One record with its disk, as JSON: what a driver is given. */
export interface NovaCase {
  readonly connectionInfo: string;
  readonly diskInfo: string;
  /** UUID of libvirt's secret for the volume, where there is one. */
  readonly secret: string | null;
}

/** A value that is good, or, one time in so many, bad. */
function mostly<T>(good: fc.Arbitrary<T>, ...bad: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 40, arbitrary: good }, { weight: 1, arbitrary: fc.constantFrom(...bad) });
}

/** A JSON object that has a member of its own called `__proto__`. */
const proto = (members: object): unknown => JSON.parse(`{"__proto__":${JSON.stringify(members)}}`);

const id = fc.uuid();
const limit = fc.oneof(
  fc.integer({ min: 1, max: 10_000 }),
  fc.integer({ min: 0, max: 2 ** 40 }).map(String),
  fc.constant(null),
);
const oddLimit = fc.constantFrom<unknown>(
  '-1',
  -1,
  '1e3',
  '0x10',
  0.5,
  '',
  ' 5',
  '007',
  true,
  2 ** 53,
  '1000000000000001',
);
/** Limits that go together, mostly; some of no name that libvirt knows, as Cinder hands through for storage. */
const sound = fc
  .record(
    {
      total_bytes_sec: limit,
      read_iops_sec: limit,
      write_iops_sec: limit,
      minIOPS: limit,
      'vendor:burst': fc.constantFrom('yes', '5'),
    },
    { requiredKeys: [] },
  )
  .chain((specs) => {
    const bytes = Number(specs.total_bytes_sec ?? 0);
    const more = {
      ...(bytes > 0 ? { total_bytes_sec_max: fc.constantFrom<string | number>(bytes, String(bytes + 1)) } : {}),
      ...(Number(specs.read_iops_sec ?? 0) > 0 ? { size_iops_sec: fc.constantFrom<string | number>(512, '4096') } : {}),
    };
    return fc.record(more, { requiredKeys: [] }).map((added) => ({ ...specs, ...added }));
  });
const free = fc.dictionary(
  fc.constantFrom(
    'total_bytes_sec',
    'read_bytes_sec',
    'write_bytes_sec_max',
    'total_iops_sec',
    'read_iops_sec_max',
    'size_iops_sec',
  ),
  limit,
);
const odd = fc
  .tuple(fc.constantFrom('total_bytes_sec', 'write_iops_sec'), oddLimit)
  .map(([key, value]) => ({ [key]: value }));
const qos = fc.oneof({ weight: 12, arbitrary: sound }, { weight: 2, arbitrary: free }, { weight: 2, arbitrary: odd });

const exported = fc.oneof(
  fc.constantFrom(
    'quobyte://192.168.1.1/volume-00001',
    '192.168.1.1/volume-00001',
    'reg1:7861,reg2:7861,reg3/vol',
    'quobyte://[2001:db8::1]:7861/vol',
    'r/Grüße',
  ),
  fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9](?::786[0-9])?\/[A-Za-z0-9][A-Za-z0-9_-]{0,20}$/),
);
const name = fc.oneof(
  id.map((one) => `volume-${one}`),
  fc.tuple(id, id).map(([one, other]) => `volume-${one}.${other}`),
  fc.constantFrom('disk 1', 'ünïcode', '$(id)'),
);
const anyOdd = [7, true, '', 'x\ny', [], {}, ['x']];

const data = fc.record(
  {
    export: mostly(
      exported,
      ...anyOdd.slice(2),
      '-o suid,dev',
      'http://r/v',
      'r/../v',
      'a:b@r/v',
      'r/v v',
      'local:///srv/v',
      'r/\ud800',
    ),
    name: mostly(name, ...anyOdd.slice(2), '../../etc/shadow', '/etc/shadow', 'a/b', '.', '..', '-x', 'x'.repeat(256)),
    format: mostly(fc.constantFrom('raw', 'qcow2'), 'RAW', 'vmdk', 'raw,file.driver=x', null, ''),
    options: mostly(fc.constantFrom(null, ''), 'suid,dev', ['x'], {}),
    qos_specs: mostly(fc.oneof(qos, fc.constant(null)), '', 'total_iops_sec=1', [], 7, proto({ total_iops_sec: '5' })),
    access_mode: mostly(fc.constantFrom('rw', 'ro', null), '', 0, false, [], 'RO', 7),
    encrypted: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(false, null) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    cacheable: fc.boolean(),
    discard: mostly(fc.constantFrom(true, false, null), 'yes', 1, 'true'),
    logical_block_size: mostly(fc.constantFrom('512', null), 512, '1000', '0', 4096, '4096', 'big'),
    physical_block_size: mostly(fc.constantFrom('512', '4096', null), 4096, '256', '1000', 'big'),
    device_path: fc.constantFrom('/dev/vdb', '/etc/shadow', null),
    volume_id: mostly(fc.oneof(id, fc.constantFrom(null, '')), 'a.b', 7, ['x'], {}),
    enforce_multipath: fc.boolean(),
    auth_password: fc.constant('hunter2'),
  },
  { requiredKeys: ['export', 'name'] },
);

const record = fc.record(
  {
    driver_volume_type: fc.oneof(
      { weight: 60, arbitrary: fc.constant('quobyte') },
      { weight: 1, arbitrary: fc.constantFrom('nfs', null) },
    ),
    data: fc.oneof(
      { weight: 60, arbitrary: data },
      { weight: 1, arbitrary: fc.constantFrom<unknown>(null, {}, [], proto({}), 7) },
    ),
    serial: mostly(fc.oneof(id, fc.constantFrom('vol 1', null)), 'a/b', '', '-a', '<x>', 'é', 'a\u0001b'),
    multiattach: mostly(fc.constantFrom(false, true, null), 'yes', 1),
    mount_point_base: mostly(fc.constantFrom('/var/lib/cinder/mnt', '/mnt/x/', null), 'a\nb', 7),
    status: fc.constantFrom('reserved', 'attaching'),
    instance: id,
  },
  { requiredKeys: ['driver_volume_type', 'data'] },
);
/** A member of that name beside the others, which Nova never looks at. */
const marked = fc.oneof(
  { weight: 80, arbitrary: record },
  {
    weight: 1,
    arbitrary: record.map((one) => ({ ...(proto({}) as object), ...Object.assign(proto({ x: 1 }) as object, one) })),
  },
);

const diskInfo = fc.oneof(
  fc.record({
    dev: fc.constantFrom('vda', 'vdb', 'vdaa'),
    bus: mostly(fc.constant('virtio'), 'xen', 'fdc'),
    type: mostly(fc.constant('disk'), 'cdrom', 'lun'),
  }),
  fc.record(
    {
      dev: mostly(fc.constantFrom('sda', 'sdz'), 'sda1', '/dev/sda', 'nvme0n1'),
      bus: fc.constantFrom('scsi', 'sata', 'usb'),
      type: fc.constant('disk'),
      unit: mostly(fc.integer({ min: 0, max: 255 }), -1, 16_384, 0.5),
    },
    { requiredKeys: ['dev', 'bus', 'type'] },
  ),
);

/** Whether Nova would look for a secret: only where the record names the volume. */
function namesVolume(given: { readonly data: unknown; readonly serial?: unknown }): boolean {
  const { volume_id: volumeId } = (given.data ?? {}) as { readonly volume_id?: unknown };
  return Boolean(volumeId) || Boolean(given.serial);
}

/** So many cases, the same for the same seed. */
export function novaCases(count: number, seed: number): readonly NovaCase[] {
  const one = fc.tuple(marked, diskInfo, fc.option(id, { freq: 3 }));
  return fc.sample(one, { numRuns: count, seed }).map(([info, disk, secret]) => ({
    connectionInfo: JSON.stringify(info),
    diskInfo: JSON.stringify(disk),
    secret: namesVolume(info) ? secret : null,
  }));
}
