// The guides, word by word: every command that a guide tells its reader to type is typed, in order, and prints what the guide says.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Guest } from '../rig/guest/guest.js';
import { makeGuestImage, whyNoGuest } from '../rig/guest/image.js';
import { blocksOf, checkPrinted, Reader } from '../rig/guide.js';
import { mountTable } from '../rig/host.js';
import { Libvirtd } from '../rig/libvirt.js';
import { ROOT, run } from '../rig/programs.js';
import { until } from '../rig/until.js';

const why = whyNoGuest();
/** Directories that the guides fill. */
const TAKEN = ['/etc/fairlead', '/var/lib/fairlead', '/run/fairlead', '/tmp/cluster'];

const must = async (program: string, ...words: readonly string[]): Promise<void> => {
  const { status, stderr } = await run(program, words);
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} failed: ${stderr}`);
};

/** A host as a reader has it: mounts are shared, and nothing of Fairlead is there. All of it is this test's own namespace. */
async function onFreshHost(read: () => Promise<void>): Promise<void> {
  const made = TAKEN.filter((path) => !existsSync(path));
  const mounted: string[] = [];
  await must('mount', '--make-rshared', '/');
  try {
    for (const path of TAKEN) {
      mkdirSync(path, { recursive: true });
      await must('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'guide', path);
      mounted.unshift(path);
    }
    await read();
  } finally {
    for (const path of mounted) await run('umount', ['--recursive', '--lazy', path]);
    for (const path of made) rmSync(path, { recursive: true, force: true });
    await must('mount', '--make-rprivate', '/');
  }
}

/** A running guest `vm1` with a disk `vda`. */
async function withGuest(use: (guest: Guest) => Promise<void>): Promise<void> {
  const directory = mkdtempSync('/tmp/fairlead-guide-');
  try {
    chmodSync(directory, 0o755);
    await using libvirtd = await Libvirtd.start('apart');
    const guest = await Guest.define({
      name: 'vm1',
      uuid: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
      libvirtd,
      image: makeGuestImage(directory),
      directory,
    });
    await guest.start();
    const disk = join(directory, 'disk');
    await must('truncate', '-s', '1M', disk);
    await libvirtd.virsh('attach-disk', 'vm1', disk, 'vda');
    await guest.newDisk([]);
    await use(guest);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe.skipIf(why !== null)(`the guide for KVM hosts${why === null ? '' : ` (skipped: ${why})`}`, () => {
  it('leads from nothing to a guest that reads its disk, and back', async () => {
    const blocks = blocksOf(readFileSync(join(ROOT, 'docs/guides/kvm.md'), 'utf8'));
    expect(new Set(blocks.map(({ where }) => where))).toEqual(new Set(['host', 'terminal', 'guest']));
    await onFreshHost(() =>
      withGuest(async (guest) => {
        {
          await using reader = new Reader();
          for (const block of blocks) {
            if (block.where === 'terminal') await reader.open(block);
            else if (block.where === 'host') checkPrinted(block, await reader.type(block));
            else checkPrinted(block, await guest.shell(block.commands));
          }
        }
        await until('nothing of it is mounted', () => !mountTable().some(({ fsType }) => fsType === 'fuse.quobyte'));
        expect(await guest.complaints()).toBe(0);
      }),
    );
  });
});
