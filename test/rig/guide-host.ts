// The host on which a guide is tried: this one, as somebody has it who has not begun yet. All of it is in this test's own namespace.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { Guest } from './guest/guest.js';
import { makeGuestImage } from './guest/image.js';
import { Libvirtd } from './libvirt.js';
import { run } from './programs.js';

/** The number of the user that {@link withUser} makes: what Debian's packages of Nova take. */
const USER_ID = 64060;

const must = async (program: string, ...words: readonly string[]): Promise<void> => {
  const { status, stderr } = await run(program, words);
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} failed: ${stderr}`);
};

/** Mounts are shared, and there is nothing yet in the directories that the guide fills. */
export async function onFreshHost(filled: readonly string[], read: () => Promise<void>): Promise<void> {
  const made = filled.filter((path) => !existsSync(path));
  const mounted: string[] = [];
  await must('mount', '--make-rshared', '/');
  try {
    for (const path of filled) {
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

/** A system user of this name, whether the host has one or not. */
export async function withUser(name: string, use: () => Promise<void>): Promise<void> {
  const directory = mkdtempSync('/tmp/fairlead-user-');
  const lines = { '/etc/passwd': `${name}:x:${USER_ID}:${USER_ID}::/:/bin/sh`, '/etc/group': `${name}:x:${USER_ID}:` };
  const mounted: string[] = [];
  try {
    for (const [file, line] of Object.entries(lines)) {
      const copy = join(directory, basename(file));
      copyFileSync(file, copy);
      const others = readFileSync(file, 'utf8')
        .split('\n')
        .filter((other) => other !== '' && !other.startsWith(`${name}:`));
      writeFileSync(copy, `${[...others, line].join('\n')}\n`);
      await must('mount', '--bind', copy, file);
      mounted.push(file);
    }
    await use();
  } finally {
    for (const file of mounted) await run('umount', ['--lazy', file]);
    rmSync(directory, { recursive: true });
  }
}

/** A running guest `vm1` with a disk `vda`. */
export async function withGuest(use: (guest: Guest) => Promise<void>): Promise<void> {
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
