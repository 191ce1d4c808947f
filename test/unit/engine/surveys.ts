// Surveys of domains, as tests have them.

import type { Domain, DomainUuid, Survey } from '../../../src/core/domains.js';

/** A running domain with these files as disks, unless said otherwise. */
export function domain(uuid: DomainUuid, files: readonly string[], rest: Partial<Domain> = {}): Domain {
  const disks = files.map((path) => ({
    target: 'vda',
    bus: 'virtio',
    path,
    format: 'raw',
    readOnly: false,
    serial: null,
    live: true,
    persistent: true,
  }));
  return { uuid, name: uuid, running: true, disks, otherFiles: [], remembered: [], ...rest };
}

/** A survey that read every domain. */
export const complete = (...domains: Domain[]): Survey => ({ domains, complete: true });
/** A survey that could not read every domain. */
export const incomplete = (...domains: Domain[]): Survey => ({ domains, complete: false });
