// The guest's device names. Pure.

import type { DiskBus } from '../../core/disk.js';
import type { Domain } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { refusal } from '../../core/text.js';

/** The first letters of device names on each bus, as Nova and virt-install give them. */
const PREFIXES: { readonly [Bus in DiskBus]: string } = { virtio: 'vd', scsi: 'sd', sata: 'sd', usb: 'sd', ide: 'hd' };
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
/** Device names with one letter and with two. */
const NAMES = LETTERS.length + LETTERS.length ** 2;

/** Refuses a target that would mislead: `sdb` on virtio. */
export function checkTarget(target: string, bus: DiskBus): void {
  if (target.startsWith(PREFIXES[bus])) return;
  const example = `${PREFIXES[bus]}b`;
  throw refusal('target', `does not go with the bus ${bus}: choose one such as ${example}, or another bus`);
}

/** The first free target of the bus, from `…b` on: neither the running domain nor its next start has it. */
export function freeTarget({ disks }: Domain, bus: DiskBus): string {
  const taken = new Set(disks.map(({ target }) => target));
  for (let index = 1; index < NAMES; index += 1) {
    const target = `${PREFIXES[bus]}${lettersOf(index)}`;
    if (!taken.has(target)) return target;
  }
  throw new FairleadError('resource-exhausted', 'The domain has no free target left. Take a disk from it first.');
}

/** 0: a, 25: z, 26: aa (as the kernel counts, sd_format_disk_name). */
function lettersOf(index: number): string {
  const last = LETTERS.charAt(index % LETTERS.length);
  return index < LETTERS.length ? last : `${LETTERS.charAt(Math.floor(index / LETTERS.length) - 1)}${last}`;
}
