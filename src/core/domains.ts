// Virtual machines as far as Fairlead sees them: libvirt's domains and the disks they have. Pure shapes, and the parsers of what
// comes from outside.

import type { Brand } from './brand.js';
import { checkText, refusal } from './text.js';

/** A domain as an operator names it: by its name, or by its UUID in the dashed form. */
export type DomainName = Brand<string, 'DomainName'>;
/** A domain's UUID: lower case, dashed. */
export type DomainUuid = Brand<string, 'DomainUuid'>;

/** Bytes of a domain's name. */
export const MAX_DOMAIN_BYTES = 255;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A disk that a domain has, read from libvirt's XML. */
export interface DomainDisk {
  /** The guest's device name: `vdb`. */
  readonly target: string;
  readonly bus: string | null;
  /** The source, where it is a file; null for block devices, network disks and empty drives. */
  readonly path: string | null;
  /** The driver's type: `raw`, `qcow2`; null where libvirt was not told. */
  readonly format: string | null;
  readonly readOnly: boolean;
  readonly serial: string | null;
  /** Whether the running domain has it. */
  readonly live: boolean;
  /** Whether the domain will have it at its next start. */
  readonly persistent: boolean;
}

/** A domain. */
export interface Domain {
  readonly uuid: DomainUuid;
  readonly name: string;
  readonly running: boolean;
  readonly disks: readonly DomainDisk[];
  /**
   * Other files that it has: what disks rest on, mirrors, firmware, shared directories, scratch files of a backup and
   * the like, as libvirt tells them. They keep a mount as much as a disk does.
   */
  readonly otherFiles: readonly string[];
  /** Files that it does not have now, but that its snapshots and checkpoints name. */
  readonly remembered: readonly string[];
  /**
   * Why nothing may be concluded from a file's absence. `files`: some could not be found out, or there were too many.
   * `backing`: libvirt does not tell what some image rests on, as with most domains that do not run.
   */
  readonly unknown?: 'files' | 'backing';
}

/** All domains of the host, running and stopped. */
export interface Survey {
  readonly domains: readonly Domain[];
  /**
   * False when any domain could not be read, or not all of its files: then nothing may be concluded from an absence.
   */
  readonly complete: boolean;
}

/** A domain's name or UUID, or `invalid-argument`. */
export function parseDomainName(value: unknown, field: string): DomainName {
  const text = checkText(value, field, { maxBytes: MAX_DOMAIN_BYTES, blanks: 'inside' });
  if (text.includes('/')) throw refusal(field, 'must be the name or the UUID of a domain, as virsh list shows it');
  return (UUID.test(text.toLowerCase()) ? text.toLowerCase() : text) as DomainName;
}

/** Whether this is a UUID as domains have it. */
export function isDomainUuid(text: string): text is DomainUuid {
  return UUID.test(text);
}
