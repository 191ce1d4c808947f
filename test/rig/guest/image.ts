// What the tests' guest boots: Debian's kernel, which scripts/guest-kernel.mjs unpacked below .cache, and an initial
// filesystem of busybox, init.sh and the modules for its disks. Nothing is installed; copies are made, because libvirt gives what
// a domain boots to QEMU's user.

import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from '../programs.js';
import { newcArchive } from './newc.js';

const KERNEL = join(ROOT, '.cache/guest-kernel');
const BUSYBOX = '/bin/busybox';
const INIT = join(ROOT, 'test/rig/guest/init.sh');
/** What Debian's kernel has as modules and our disks need; what these need is found out. */
const MODULES = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod'];

/** A kernel and an initial filesystem that QEMU can boot. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** Why no guest can be booted here; null if one can. */
export function whyNoGuest(): string | null {
  if (!existsSync(KERNEL)) return 'needs a guest kernel in .cache/guest-kernel (node scripts/guest-kernel.mjs)';
  if (!existsSync(BUSYBOX)) return `needs ${BUSYBOX} (package busybox-static)`;
  return null;
}

/** Makes both in a directory that QEMU's user may search. */
export function makeGuestImage(directory: string): GuestImage {
  const kernel = join(directory, 'vmlinuz');
  const initrd = join(directory, 'initrd');
  copyFileSync(
    find(join(KERNEL, 'boot'), (name) => name.startsWith('vmlinuz-')),
    kernel,
  );
  const modules = inOrder(MODULES);
  writeFileSync(
    initrd,
    newcArchive([
      { name: 'bin', content: null },
      { name: 'bin/busybox', content: readFileSync(BUSYBOX) },
      { name: 'init', content: readFileSync(INIT) },
      { name: 'modules', content: null },
      { name: 'modules/order', content: Buffer.from(modules.map((file) => `${basename(file)}\n`).join('')) },
      ...modules.map((file) => ({ name: `modules/${basename(file)}`, content: readFileSync(file) })),
    ]),
  );
  return { kernel, initrd };
}

/** The files of these modules and of all that they need, each after what it needs; what is built in has no file. */
function inOrder(names: readonly string[]): readonly string[] {
  const trees = join(KERNEL, 'lib/modules');
  const all = readdirSync(trees, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ko'));
  const files = new Map(all.map((name) => [moduleName(name), join(trees, name)]));
  const order = new Set<string>();
  const add = (name: string): void => {
    const file = files.get(name);
    if (file === undefined || order.has(file)) return;
    // The section .modinfo holds `depends=a,b` between zeros (include/linux/module.h).
    const depends = /(?:^|\0)depends=([a-z0-9_,-]*)\0/i.exec(readFileSync(file, 'latin1'))?.[1] ?? '';
    for (const other of depends.split(',').filter(Boolean)) add(other.replaceAll('-', '_'));
    order.add(file);
  };
  names.forEach(add);
  return [...order];
}

function moduleName(file: string): string {
  return basename(file, '.ko').replaceAll('-', '_');
}

function find(directory: string, matches: (name: string) => boolean): string {
  const name = readdirSync(directory).find(matches);
  if (name === undefined) throw new Error(`nothing fitting in ${directory}`);
  return join(directory, name);
}
