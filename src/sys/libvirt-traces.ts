// Whether libvirt is in use on this host, as far as its directories tell: they are there whether or not a daemon runs.
// For users without rights, who may see that a directory is there and not what is in it.

import { lstatSync } from 'node:fs';
import { errnoOf } from './libc/errors.js';

/** Directories of libvirt's QEMU driver: descriptions of domains, their state, their process numbers. */
const TRACES = ['/etc/libvirt/qemu', '/var/lib/libvirt/qemu', '/run/libvirt/qemu'] as const;

/** True where any trace of libvirt is there, or that cannot be told. */
export function isLibvirtHere(): boolean {
  return TRACES.some(mayExist);
}

function mayExist(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    return !['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '');
  }
}
