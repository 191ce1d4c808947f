// A disk's description before libvirt's and QEMU's own eyes: hundreds of generated disks against libvirt's schema, and what we refuse
// together against the QEMU that would refuse it.

import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDiskOptions } from '../../../src/core/disk-options.js';
import { describeDisk, diskXml, IOTUNE_KEYS, type DiskChoice, type DiskOptions } from '../../../src/core/disk.js';
import { FairleadError } from '../../../src/core/errors.js';
import { parseAbsolutePath } from '../../../src/core/paths.js';
import { run } from '../../rig/programs.js';

const SCHEMA = '/usr/share/libvirt/schemas/domain.rng';
const QEMU = '/usr/bin/qemu-system-x86_64';
const DISKS = 400;
/** The same disks in every run. */
const SEED = 26;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-disks-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const limit = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(1, 2 ** 40, 1_000_000_000_000_000));
const options = fc.record(
  {
    serial: fc.stringMatching(/^[A-Za-z0-9](?:[A-Za-z0-9_.+ -]{0,30}[A-Za-z0-9_.+-])?$/),
    discard: fc.constant('unmap'),
    iotune: fc.oneof(
      fc.record(
        { total_bytes_sec: limit, read_iops_sec: limit, write_iops_sec: limit, size_iops_sec: limit },
        { requiredKeys: [] },
      ),
      fc.dictionary(fc.constantFrom(...IOTUNE_KEYS), limit),
    ),
    blockSizes: fc.constantFrom({ logical: 512 }, { physical: 4096 }, { logical: 4096, physical: 2_097_152 }),
    shareable: fc.boolean(),
    alias: fc.stringMatching(/^ua-[A-Za-z0-9_-]{1,40}$/),
    encryption: fc.uuid().map((secret) => ({ secret })),
    unit: fc.integer({ min: 0, max: 16_383 }),
  },
  { requiredKeys: [] },
);
const choice = fc.record({
  backend: fc.constant('quobyte' as const),
  file: fc
    .constantFrom('/mnt/c94ed34ada0acf45c1213beb1fc52ce6/volume-1', `/mnt/a/<&"'>é`)
    .map((at) => parseAbsolutePath(at, 'f')),
  format: fc.constantFrom('raw', 'qcow2'),
  driver: fc.constantFrom({ cache: 'none', io: 'native' }, { cache: 'writeback', io: 'threads' }),
  target: fc.constantFrom('vdb', 'sdaa', 'xvdz'),
  bus: fc.constantFrom('virtio', 'scsi', 'sata', 'ide', 'usb'),
  access: fc.constantFrom('read-write', 'read-only'),
  options,
});

/** The disk's XML, or null where it is refused. */
function xmlOf(given: Omit<DiskChoice, 'options'> & { readonly options: unknown }): string | null {
  try {
    return diskXml(describeDisk({ ...given, options: parseDiskOptions(given.options, 'options') }));
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'invalid-argument') return null;
    throw error;
  }
}

/** What virt-xml-validate says of a domain with these disks. */
async function validate(disks: readonly string[]): Promise<string> {
  const file = join(directory, 'domain.xml');
  writeFileSync(
    file,
    `<domain type="kvm"><name>g</name><memory>1024</memory><os><type>hvm</type></os><devices>${disks.join('\n')}</devices></domain>`,
  );
  const { status, stderr } = await run('virt-xml-validate', [file, 'domain']);
  return status === 0 ? 'valid' : stderr;
}

describe.skipIf(!existsSync(SCHEMA))('libvirt’s schema (without libvirt-clients it is not there to ask)', () => {
  it(`takes ${DISKS} generated disks with every combination of options`, async () => {
    const disks = fc.sample(choice, { numRuns: 10 * DISKS, seed: SEED }).map(xmlOf);
    const taken = disks.filter((xml) => xml !== null).slice(0, DISKS);
    expect(taken).toHaveLength(DISKS);
    for (const part of [
      'iotune',
      'blockio',
      'shareable',
      'alias',
      'encryption',
      'address',
      'serial',
      'discard',
      'readonly',
    ]) {
      expect(taken.filter((xml) => xml.includes(part)).length).toBeGreaterThan(20);
    }
    expect(await validate(taken)).toBe('valid');
  });

  it('sees a disk that is wrong', async () => {
    const [sound = ''] = fc.sample(choice, { numRuns: 20, seed: SEED }).flatMap((one) => xmlOf(one) ?? []);
    expect(await validate([sound])).toBe('valid');
    expect(await validate([sound.replace('<target', '<targets')])).not.toBe('valid');
  });
});

describe.skipIf(!existsSync(QEMU))('QEMU (without qemu-system-x86 it is not there to ask)', () => {
  /** Whether a QEMU with such a disk gets as far as its monitor. */
  async function taken({ iotune = {}, blockSizes = {} }: DiskOptions): Promise<boolean> {
    const image = join(directory, 'image.raw');
    writeFileSync(image, '');
    truncateSync(image, 1_048_576);
    const throttling = Object.entries(iotune).map(([key, value]) => `,throttling.${throttlingOf(key)}=${value}`);
    const sizes = Object.entries(blockSizes).map(([key, value]) => `,${key}_block_size=${value}`);
    const { status } = await run(
      QEMU,
      [
        ...['-nodefaults', '-display', 'none', '-S', '-M', 'pc,accel=tcg', '-m', '8', '-monitor', 'stdio'],
        ...['-drive', `file=${image},format=raw,if=none,id=d${throttling.join('')}`],
        ...['-device', `virtio-blk-pci,drive=d${sizes.join('')}`],
      ],
      { input: 'quit\n' },
    );
    return status === 0;
  }

  /** QEMU's name of a limit (qemu-options, `-drive throttling.…`). */
  const throttlingOf = (key: string): string =>
    key === 'size_iops_sec'
      ? 'iops-size'
      : key
          .replace(
            /^(read|write|total)_(bytes|iops)_sec/,
            (_, way: string, kind: string) => `${kind === 'bytes' ? 'bps' : 'iops'}-${way}`,
          )
          .replace('_', '-');

  const cases: readonly DiskOptions[] = [
    { iotune: { total_bytes_sec: 1_000_000_000_000_000 } },
    { iotune: { total_bytes_sec: 1_000_000_000_000_001 } },
    { iotune: { total_bytes_sec: 5, read_bytes_sec: 1 } },
    { iotune: { total_bytes_sec: 0, read_bytes_sec: 1 } },
    { iotune: { total_iops_sec: 5, write_iops_sec: 1 } },
    { iotune: { total_bytes_sec: 5, total_iops_sec: 1 } },
    { iotune: { total_bytes_sec_max: 5 } },
    { iotune: { total_bytes_sec: 5, total_bytes_sec_max: 4 } },
    { iotune: { total_bytes_sec: 5, total_bytes_sec_max: 5 } },
    { iotune: { total_bytes_sec: 5, read_bytes_sec_max: 6 } },
    { iotune: { size_iops_sec: 512 } },
    { iotune: { total_bytes_sec: 5, size_iops_sec: 512 } },
    { iotune: { read_iops_sec: 5, size_iops_sec: 512 } },
    { blockSizes: { logical: 4096 } },
    { blockSizes: { logical: 4096, physical: 512 } },
    { blockSizes: { logical: 4096, physical: 4096 } },
    { blockSizes: { physical: 2_097_152 } },
    { blockSizes: { physical: 4_194_304 } },
    { blockSizes: { physical: 1000 } },
    { blockSizes: { logical: 256 } },
  ];
  it.each(cases)('takes or refuses %j as we do', async (given) => {
    const ours = xmlOf({ ...CHOICE, options: given }) !== null;
    expect(await taken(given)).toBe(ours);
  });

  it('is asked about as much that it takes as that it refuses', () => {
    const ours = cases.map((given) => xmlOf({ ...CHOICE, options: given }) !== null);
    expect(ours.filter(Boolean).length).toBeGreaterThan(6);
    expect(ours.filter((one) => !one).length).toBeGreaterThan(6);
  });
});

const CHOICE = {
  backend: 'quobyte',
  file: parseAbsolutePath('/mnt/c94ed34ada0acf45c1213beb1fc52ce6/volume-1', 'f'),
  format: 'raw',
  driver: { cache: 'none', io: 'native' },
  target: 'vdb',
  bus: 'virtio',
  access: 'read-write',
} as const;
