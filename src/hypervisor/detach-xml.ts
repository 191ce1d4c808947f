// The description by which libvirt finds the disk to be taken away: by its target (virDomainDiskIndexByName); the rest is for whoever reads
// libvirt's log.

import { toXml } from '../core/xml.js';

/** A disk that a domain has. */
export interface DetachedDisk {
  readonly file: string;
  readonly target: string;
  readonly bus: string | null;
}

/** See the file's head. */
export function detachXml({ file, target, bus }: DetachedDisk): string {
  return toXml({
    name: 'disk',
    attributes: { type: 'file', device: 'disk' },
    content: [
      { name: 'source', attributes: { file } },
      { name: 'target', attributes: { dev: target, ...(bus === null ? {} : { bus }) } },
    ],
  });
}
