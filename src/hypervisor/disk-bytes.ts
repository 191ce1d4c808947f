// Sizes of disks, as they come from the agent. Pure.

import { DISK_BLOCK_BYTES } from '../core/limits.js';
import { refusal } from '../core/text.js';

/** A size that QEMU knows: whole blocks (virtio-blk and SCSI count in 512 bytes). The schema has bounded it. */
export function checkDiskBytes(bytes: number, field: string): number {
  if (bytes % DISK_BLOCK_BYTES !== 0) throw refusal(field, `must be a multiple of ${DISK_BLOCK_BYTES}`);
  return bytes;
}
