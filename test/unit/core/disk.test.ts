import { describe, expect, it } from 'vitest';
import {
  checkDriverPair,
  describeDisk,
  diskXml,
  parseAccessMode,
  parseDiskBus,
  parseDiskFormat,
  parseSerial,
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
  serial: 'b1f5f0a6-7c25-4e0c-9a06-1a2b3c4d5e6f',
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
      readonly: false,
      serial: choice.serial,
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
    const xml = diskXml(describeDisk({ ...choice, format: 'qcow2', access: 'read-only', serial: null }));
    expect(xml).toContain('type="qcow2"');
    expect(xml).toContain('<readonly/>');
    expect(xml).not.toContain('serial');
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

  it('serial: what libvirt takes', () => {
    for (const value of ['a', 'b1f5f0a6-7c25', 'A b_c.+-']) expect(parseSerial(value, 's')).toBe(value);
    for (const value of ['', '-a', 'a<b', 'a/b', 'a\nb', 'é', 'x'.repeat(129), 7, null])
      refusalOf(() => parseSerial(value, 's'));
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
