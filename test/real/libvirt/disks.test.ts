// A disk's description before a real libvirt with a real QEMU: what is described is taken by a running guest and stands in its XML; what is
// refused as impossible is refused there, too, only later.

import { chmodSync, existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseDiskOptions } from '../../../src/core/disk-options.js';
import { describeDisk, diskXml, type DiskChoice, type DiskDescription, type Iotune } from '../../../src/core/disk.js';
import { parseAbsolutePath } from '../../../src/core/paths.js';
import { domainXml, Libvirtd } from '../../rig/libvirt.js';
import { run, type Run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { refusalOf } from '../../refusal.js';

const SECRET = '6e1a2c0e-0000-4000-8000-000000000001';
const PASSPHRASE = 'no secret';
const BYTES = 1_048_576;
/** Where each disk is attached, on the controller that the guest has from the start. */
const TARGET = 'sdb';
const PROGRAMS = [
  '/usr/sbin/libvirtd',
  '/usr/sbin/virtlogd',
  '/usr/bin/virsh',
  '/usr/bin/qemu-system-x86_64',
  '/usr/bin/qemu-img',
];
const missing = PROGRAMS.filter((program) => !existsSync(program));

describe.skipIf(missing.length > 0)(`a running guest${missing.map((one) => ` (skipped: no ${one})`).join('')}`, () => {
  let libvirtd: Libvirtd;
  let directory: string;
  let made = 0;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'fairlead-disks-'));
    chmodSync(directory, 0o755);
    libvirtd = await Libvirtd.start();
    await libvirtd.virsh('create', fileWith(domainXml({ name: 'guest' })));
    await libvirtd.virsh(
      'secret-define',
      fileWith(`<secret ephemeral="no" private="yes"><uuid>${SECRET}</uuid></secret>`),
    );
    await libvirtd.virsh('secret-set-value', SECRET, '--file', fileWith(PASSPHRASE), '--plain');
  });
  afterAll(async () => {
    await libvirtd.shutDown();
    rmSync(directory, { recursive: true });
  });

  afterEach(async () => {
    await libvirtd.tryVirsh('detach-disk', 'guest', TARGET, '--live');
    await until('the disk is gone', async () => !(await libvirtd.virsh('domblklist', 'guest')).includes(TARGET));
  });

  function fileWith(text: string): string {
    const file = join(directory, `file-${++made}`);
    writeFileSync(file, text);
    return file;
  }

  /** An image of its own for each disk, and a name for it in the guest. */
  async function choiceOf(changes: Partial<DiskChoice>): Promise<DiskChoice> {
    const file = fileWith('');
    const { format = 'raw', options = {} } = changes;
    if (options.encryption !== undefined) {
      const secret = ['--object', `secret,id=s,data=${PASSPHRASE}`, '-o', 'key-secret=s,iter-time=10'];
      const words = ['create', '-f', 'luks', ...secret, file, String(BYTES)];
      // On a busy machine QEMU 7.2 sometimes gives up measuring its processor: "Unable to get accurate CPU usage".
      await until('an encrypted image', async () => (await run('qemu-img', words)).status === 0, 60_000);
    } else if (format === 'raw') truncateSync(file, BYTES);
    else expect((await run('qemu-img', ['create', '-f', format, file, String(BYTES)])).status).toBe(0);
    chmodSync(file, 0o666);
    return {
      backend: 'quobyte',
      file: parseAbsolutePath(file, 'file'),
      format,
      driver: { cache: 'none', io: 'native' },
      target: TARGET,
      bus: 'scsi',
      access: 'read-write',
      options,
      ...changes,
    };
  }

  const attach = (disk: DiskDescription): Promise<Run> =>
    libvirtd.tryVirsh('attach-device', 'guest', fileWith(diskXml(disk)), '--live');

  /** The disk as the guest's XML has it. */
  async function seen(file: string): Promise<string> {
    const disks = (await libvirtd.virsh('dumpxml', 'guest')).match(/<disk [^]*?<\/disk>/g) ?? [];
    return disks.find((xml) => xml.includes(`'${file}'`)) ?? '';
  }

  /** The limits that QEMU keeps to, by name. */
  async function limits(): Promise<Record<string, string>> {
    const said = await libvirtd.virsh('blkdeviotune', 'guest', TARGET);
    return Object.fromEntries(
      [...said.matchAll(/^(\w+) *: *(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
    );
  }

  const options = (given: object): Partial<DiskChoice> => ({ options: parseDiskOptions(given, 'options') });
  const taken: readonly [string, Partial<DiskChoice>, readonly RegExp[]][] = [
    ['that is plain', {}, [/type='raw' cache='none' io='native'/]],
    ['of format qcow2 and read only', { format: 'qcow2', access: 'read-only' }, [/type='qcow2'/, /<readonly\/>/]],
    ['on virtio, read only', { bus: 'virtio', target: 'vdb', access: 'read-only' }, [/bus='virtio'/, /<readonly\/>/]],
    ['with another cache', { driver: { cache: 'writeback', io: 'threads' } }, [/cache='writeback' io='threads'/]],
    ['with a serial', options({ serial: 'A b_c.+-' }), [/<serial>A b_c\.\+-<\/serial>/]],
    ['that discards', options({ discard: 'unmap' }), [/discard='unmap'/]],
    ['that is shared', options({ shareable: true }), [/<shareable\/>/]],
    [
      'that is shared, a qcow2, and read only',
      { format: 'qcow2', access: 'read-only', ...options({ shareable: true }) },
      [/<shareable\/>/],
    ],
    ['with an alias', options({ alias: 'ua-A_b-1' }), [/<alias name='ua-A_b-1'\/>/]],
    ['with the longest alias', options({ alias: `ua-${'x'.repeat(125)}` }), [/<alias name='ua-x{125}'\/>/]],
    ['with the last unit', options({ unit: 16_383 }), [/unit='16383'/]],
    [
      'with limits',
      options({
        iotune: { read_bytes_sec: 1, write_iops_sec: 1_000_000_000_000_000, write_iops_sec_max: 1_000_000_000_000_000 },
      }),
      [/<read_bytes_sec>1</, /<write_iops_sec>1000000000000000</, /<write_iops_sec_max>1000000000000000</],
    ],
    [
      'with a limit of none beside another',
      options({ iotune: { total_bytes_sec: 0, read_bytes_sec: 5 } }),
      [/<read_bytes_sec>5</],
    ],
    ['with block sizes', options({ blockSizes: { logical: 4096, physical: 4096 } }), [/logical_block_size='4096'/]],
    [
      'that is encrypted',
      options({ encryption: { secret: SECRET } }),
      [/<encryption format='luks'/, new RegExp(SECRET)],
    ],
  ];
  it.each(taken)('takes a disk %s', async (_, changes, parts) => {
    const choice = await choiceOf(changes);
    const { status, stderr } = await attach(describeDisk(choice));
    expect([status, stderr.trim()]).toEqual([0, '']);
    const xml = await seen(choice.file);
    for (const part of parts) expect(xml).toMatch(part);
  });

  it('has the limits that it was given', async () => {
    const choice = await choiceOf(
      options({ iotune: { total_iops_sec: 7, total_iops_sec_max: 9, size_iops_sec: 512 } }),
    );
    expect((await attach(describeDisk(choice))).status).toBe(0);
    expect(await limits()).toMatchObject({ total_iops_sec: '7', total_iops_sec_max: '9', size_iops_sec: '512' });
  });

  const impossible: readonly [string, Iotune][] = [
    ['a burst without its limit', { total_iops_sec_max: 5 }],
    ['a burst below its limit', { total_iops_sec: 9, total_iops_sec_max: 5 }],
    ['a size without a limit on operations', { total_bytes_sec: 9, size_iops_sec: 512 }],
  ];
  it.each(impossible)(
    'is given none of its limits with %s, and does not start with it: refused by us',
    async (_, iotune) => {
      refusalOf(() => parseDiskOptions({ iotune }, 'options'));
      const description = { ...describeDisk(await choiceOf({})), iotune };
      expect((await attach(description)).status).toBe(0);
      expect(Object.values(await limits()).filter((value) => !['0', ''].includes(value))).toEqual([]);
      const next = { ...describeDisk(await choiceOf({})), iotune };
      const whole = domainXml({ name: `other-${++made}`, devices: diskXml(next) });
      expect(await libvirtd.tryVirsh('create', fileWith(whole))).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('block_set_io_throttle') as string,
      });
    },
  );

  it('keeps no alias of other characters, so that none is written for them', async () => {
    const choice = await choiceOf({});
    expect((await attach({ ...describeDisk(choice), alias: 'ua-a.b' })).status).toBe(0);
    expect(await seen(choice.file)).not.toContain('ua-a.b');
    refusalOf(() => parseDiskOptions({ alias: 'ua-a.b' }, 'options'));
  });

  /** What is asked for, the same in a description that is written without asking us, and what libvirt says to it. */
  const refused: readonly [string, object, Partial<DiskChoice>, Partial<DiskDescription>, RegExp][] = [
    ['a shared qcow2', { shareable: true }, { format: 'qcow2' }, { shareable: true }, /supported storage format/],
    ['read-only on sata', {}, { bus: 'sata', access: 'read-only' }, { readonly: true }, /readonly sata/],
    ['read-only on ide', {}, { bus: 'ide', target: 'hdb', access: 'read-only' }, { readonly: true }, /readonly ide/],
    ['a serial with a slash', { serial: 'a/b' }, {}, { serial: 'a/b' }, /unsafe characters/],
    [
      'a negative limit',
      { iotune: { total_iops_sec: -1 } },
      {},
      { iotune: { total_iops_sec: -1 } },
      /must be an integer/,
    ],
    [
      'a limit beyond QEMU',
      { iotune: { total_iops_sec: 1e15 + 1 } },
      {},
      { iotune: { total_iops_sec: 1e15 + 1 } },
      /no more than/,
    ],
    [
      'a total beside a part',
      { iotune: { total_iops_sec: 5, read_iops_sec: 1 } },
      {},
      { iotune: { total_iops_sec: 5, read_iops_sec: 1 } },
      /cannot be set at the same time/,
    ],
    ['an odd block size', { blockSizes: { physical: 1000 } }, {}, { blockSizes: { physical: 1000 } }, /power of 2/],
    [
      'a logical block size alone',
      { blockSizes: { logical: 4096 } },
      {},
      { blockSizes: { logical: 4096 } },
      /logical_block_size > physical/,
    ],
    ['a unit too far', { unit: 16_384 }, {}, { address: { type: 'drive', controller: 0, unit: 16_384 } }, /error/],
  ];
  it.each(refused)('refuses %s, as we do', async (_, asked, changes, description, words) => {
    const sound = await choiceOf({ ...changes, access: 'read-write' });
    refusalOf(() => describeDisk({ ...sound, ...changes, options: parseDiskOptions(asked, 'options') }));
    const { status, stderr } = await attach({ ...describeDisk(sound), ...description });
    expect([status, stderr]).toEqual([1, expect.stringMatching(words)]);
  });
});
