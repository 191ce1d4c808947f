// Which boot of the kernel this is.

import { readFileSync } from 'node:fs';

/** `/proc/sys/kernel/random/boot_id`: a UUID that is new with each boot (random(4)). */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
