// Detaches that were begun by the guest's device name and did not end: the guest was busy, or nobody could say. When the guest has let go
// meanwhile the name leads nowhere; whoever says the same again means the same disk. Kept in memory only: after a restart the disk has to be
// named by URL and file.

import type { Domain, DomainUuid } from '../../core/domains.js';
import type { DiskName } from '../../core/names.js';
import type { Volume } from '../../core/volume.js';
import { usesFile } from './ours.js';

/** Detaches that are remembered; the oldest are forgotten first. */
const MAX_BEGUN = 1024;

/** The disk that was at a target. */
export interface BegunDisk {
  readonly volume: Volume;
  readonly disk: DiskName;
  readonly path: string;
}

/** What was begun. */
export class Begun {
  readonly #disks = new Map<string, BegunDisk>();

  remember(uuid: DomainUuid, target: string, { volume, disk, path }: BegunDisk): void {
    this.forget(uuid, target);
    this.#disks.set(`${uuid} ${target}`, { volume, disk, path });
    const [oldest] = this.#disks.keys();
    if (this.#disks.size > MAX_BEGUN && oldest !== undefined) this.#disks.delete(oldest);
  }

  forget(uuid: DomainUuid, target: string): void {
    this.#disks.delete(`${uuid} ${target}`);
  }

  /** The disk that was to go from there, if the domain does not have it any more, there or elsewhere. */
  recall(domain: Domain, target: string): BegunDisk | null {
    const begun = this.#disks.get(`${domain.uuid} ${target}`);
    return begun === undefined || usesFile(domain, begun.path) ? null : begun;
  }
}
