// UUIDs as libvirt's protocol has them, sixteen bytes, and as everybody else does.

import type { DomainUuid } from '../../core/domains.js';

/** The dashed form, in lower case. */
export function uuidText(bytes: Uint8Array): DomainUuid {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5') as DomainUuid;
}

/** The sixteen bytes. */
export function uuidBytes(uuid: DomainUuid): Uint8Array {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}
