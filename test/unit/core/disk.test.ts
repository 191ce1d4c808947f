import { describe, expect, it } from 'vitest';
import {
  checkDriverPair,
  describeDisk,
  diskXml,
  parseAccessMode,
  parseDiskBus,
  parseDiskFormat,
  parseTargetDevice,
  type DiskChoice,
} from '../../../src/core/disk.js';
import { parseAbsolutePath } from '../../../src/core/paths.js';
import { refusalOf } from '../../refusal.js';

const choice: DiskChoice = {
  backend: 'quobyte',
  file: parseAbsolutePath('/mnt/9e1c3f95dd0ba4ce55aa07dc6f09b441/disk', 'f'),
  format: 'raw',
  driver: { cache: 'none', io: 'native' },
  target: 'vdb',
  bus: 'virtio',
  access: 'read-write',
  options: { serial: 'b1f5f0a6-7c25-4e0c-9a06-1a2b3c4d5e6f' },
};

describe('the description of a disk', () => {
  it('has Nova’s fixed facts', () => {
    expect(describeDisk(choice)).toEqual({
      protocol: 'quobyte',
      type: 'file',
      device: 'disk',
      driver: { name: 'qemu', type: 'raw', cache: 'none', io: 'native' },
      source: { file: choice.file },
      target: { dev: 'vdb', bus: 'virtio' },
      alias: null,
      serial: choice.options.serial,
      iotune: null,
      blockSizes: null,
      readonly: false,
      shareable: false,
      address: null,
      encryption: null,
    });
  });

  it('is written as Nova writes it', () => {
    expect(diskXml(describeDisk(choice))).toBe(
      `<disk type="file" device="disk">
  <driver name="qemu" type="raw" cache="none" io="native"/>
  <source file="/mnt/9e1c3f95dd0ba4ce55aa07dc6f09b441/disk"/>
  <target dev="vdb" bus="virtio"/>
  <serial>b1f5f0a6-7c25-4e0c-9a06-1a2b3c4d5e6f</serial>
</disk>`,
    );
  });

  it('says read-only and leaves the serial out where there is none', () => {
    const xml = diskXml(describeDisk({ ...choice, format: 'qcow2', access: 'read-only', options: {} }));
    expect(xml).toContain('type="qcow2"');
    expect(xml).toContain('<readonly/>');
    expect(xml).not.toContain('serial');
  });

  it('says every option, in the order in which Nova writes them', () => {
    const options = {
      serial: 'a b',
      discard: 'unmap',
      iotune: { size_iops_sec: 4096, total_iops_sec: 2 ** 40, read_bytes_sec: 0 },
      blockSizes: { logical: 512, physical: 4096 },
      shareable: true,
      alias: 'ua-1',
      encryption: { secret: '6e1a2c0e-0000-4000-8000-000000000001' },
      unit: 7,
    } as const;
    expect(diskXml(describeDisk({ ...choice, target: 'sdb', bus: 'scsi', access: 'read-only', options }))).toBe(
      `<disk type="file" device="disk">
  <driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>
  <alias name="ua-1"/>
  <source file="/mnt/9e1c3f95dd0ba4ce55aa07dc6f09b441/disk"/>
  <target dev="sdb" bus="scsi"/>
  <serial>a b</serial>
  <iotune>
    <read_bytes_sec>0</read_bytes_sec>
    <total_iops_sec>1099511627776</total_iops_sec>
    <size_iops_sec>4096</size_iops_sec>
  </iotune>
  <blockio logical_block_size="512" physical_block_size="4096"/>
  <readonly/>
  <shareable/>
  <address type="drive" controller="0" unit="7"/>
  <encryption format="luks">
    <secret type="passphrase" uuid="6e1a2c0e-0000-4000-8000-000000000001"/>
  </encryption>
</disk>`,
    );
  });

  it('is refused where QEMU could not have it', () => {
    const shareable = { shareable: true } as const;
    const writeback = { cache: 'writeback', io: 'threads' } as const;
    const fieldOf = (part: Partial<DiskChoice>): string | undefined =>
      refusalOf(() => describeDisk({ ...choice, ...part })).field;
    expect(fieldOf({ options: { unit: 0 } })).toBe('options.unit');
    expect(fieldOf({ options: shareable, driver: writeback })).toBe('options.shareable');
    expect(fieldOf({ options: shareable, format: 'qcow2' })).toBe('options.shareable');
    expect(fieldOf({ access: 'read-only', bus: 'sata' })).toBe('readOnly');
    expect(fieldOf({ access: 'read-only', bus: 'ide' })).toBe('readOnly');
    expect(describeDisk({ ...choice, access: 'read-only', bus: 'usb' }).readonly).toBe(true);
    expect(describeDisk({ ...choice, options: shareable, format: 'qcow2', access: 'read-only' }).shareable).toBe(true);
    const named = refusalOf(() => describeDisk({ ...choice, options: { unit: 0 } }, (option) => `mine.${option}`));
    expect(named.field).toBe('mine.unit');
  });

  it('cannot be broken out of by a path', () => {
    const file = parseAbsolutePath(`/mnt/"/><evil/>&'x`, 'f');
    expect(diskXml(describeDisk({ ...choice, file }))).toContain(
      '<source file="/mnt/&quot;/&gt;&lt;evil/&gt;&amp;&apos;x"/>',
    );
  });
});

describe('what may be chosen', () => {
  it('format: absent is raw, raw and qcow2 are kept, nothing else', () => {
    expect(parseDiskFormat(undefined, 'format')).toBe('raw');
    expect(parseDiskFormat('raw', 'format')).toBe('raw');
    expect(parseDiskFormat('qcow2', 'format')).toBe('qcow2');
    for (const value of ['RAW', 'vmdk', 'raw,file.driver=x', 'raw ', '', null, 1, ['raw'], {}]) {
      refusalOf(() => parseDiskFormat(value, 'format'));
    }
  });

  it('access mode: rw and ro only', () => {
    expect(parseAccessMode(undefined, 'access_mode')).toBe('read-write');
    expect(parseAccessMode('rw', 'access_mode')).toBe('read-write');
    expect(parseAccessMode('ro', 'access_mode')).toBe('read-only');
    for (const value of ['RO', 'r', '', 'rw,ro', null, true, ['ro']])
      refusalOf(() => parseAccessMode(value, 'access_mode'));
  });

  it('bus: from the list', () => {
    expect(parseDiskBus(undefined, 'bus')).toBe('virtio');
    expect(parseDiskBus('scsi', 'bus')).toBe('scsi');
    for (const value of ['VirtIO', 'xen"', '', null, 'constructor']) refusalOf(() => parseDiskBus(value, 'bus'));
  });

  it('target: a device name', () => {
    for (const value of ['vda', 'vdb', 'sda', 'hdc', 'xvdb', 'vdaa']) expect(parseTargetDevice(value, 't')).toBe(value);
    for (const value of ['', 'vd', 'VDA', 'vda1', '/dev/vda', 'vda ', 'vda\n', '"', 'nvme0n1', null, 7]) {
      refusalOf(() => parseTargetDevice(value, 't'));
    }
  });
});

describe('cache and io', () => {
  it.each([
    ['none', 'native'],
    ['directsync', 'native'],
    ['none', 'threads'],
    ['writeback', 'threads'],
    ['writethrough', 'io_uring'],
    ['unsafe', 'threads'],
  ])('%s goes with %s', (cache, io) => {
    expect(checkDriverPair(cache, io, 'backend.quobyte')).toEqual({ cache, io });
  });

  it.each([
    ['writeback', 'native', 'backend.quobyte.driver_io'],
    ['writethrough', 'native', 'backend.quobyte.driver_io'],
    ['unsafe', 'native', 'backend.quobyte.driver_io'],
    ['bogus', 'native', 'backend.quobyte.driver_cache'],
    ['None', 'native', 'backend.quobyte.driver_cache'],
    ['none', 'aio', 'backend.quobyte.driver_io'],
    ['none', '', 'backend.quobyte.driver_io'],
    [undefined, 'native', 'backend.quobyte.driver_cache'],
    ['none', null, 'backend.quobyte.driver_io'],
  ])('%s with %s is refused at %s', (cache, io, field) => {
    expect(refusalOf(() => checkDriverPair(cache, io, 'backend.quobyte')).field).toBe(field);
  });
});
