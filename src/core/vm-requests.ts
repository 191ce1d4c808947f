// What may be asked about disks of virtual machines, and what is answered: the libvirt door's questions, whoever asks them (HTTP, and the
// CLI through it).

import type { Finding } from './broker-api.js';
import type { DiskBus, DiskFormat, DiskOptions } from './disk.js';
import type { DomainName, DomainUuid } from './domains.js';
import type { Consumer, DiskName } from './names.js';
import type { DisconnectReply, Orphanhood, RequestContext } from './requests.js';
import type { Access } from './verdict.js';
import type { Leaf, Volume } from './volume.js';

/** Connect, describe, hot-plug, verify, record: one operation. */
export interface VmAttachRequest {
  readonly domain: DomainName;
  readonly volume: Volume;
  readonly disk: DiskName;
  readonly format: DiskFormat;
  /** The guest's device name; null: the first free one of the bus, vdb before vdc. */
  readonly target: string | null;
  readonly bus: DiskBus;
  readonly access: Access;
  readonly options: DiskOptions;
  /** `both`: at the domain's next start too. */
  readonly scope: 'running' | 'both';
  /** Bytes of the image to make if the file does not exist; null: it must exist. */
  readonly create: number | null;
}

/** The guest has the disk, seen in its XML, and its attachment is recorded. */
export interface VmAttachReply {
  readonly attachment: string;
  readonly domain: { readonly uuid: DomainUuid; readonly name: string };
  readonly target: string;
  readonly leaf: Leaf;
  readonly path: string;
  readonly changed: boolean;
  /** Was the image made now? */
  readonly created: boolean;
  readonly notes: readonly string[];
}

/** Which disk a guest is to lose: by the guest's device name, or by volume and file. */
export type VmDiskChoice =
  | { readonly by: 'target'; readonly target: string }
  | { readonly by: 'disk'; readonly volume: Volume; readonly disk: DiskName };

/** Takes a disk away from a guest and ends its attachment. */
export interface VmDetachRequest {
  readonly domain: DomainName;
  readonly choice: VmDiskChoice;
}

/** The guest no longer has the disk; what is true of its volume's mount, as disconnect says it. */
export interface VmDetachReply extends DisconnectReply {
  readonly domain: { readonly uuid: DomainUuid; readonly name: string };
  readonly target: string | null;
  /** Was anything done to the domain? */
  readonly changed: boolean;
}

/** Grows a disk. */
export interface VmExtendRequest {
  readonly domain: DomainName;
  readonly target: string;
  readonly bytes: number;
}

/** The disk has this size, seen. */
export interface VmExtendReply {
  readonly domain: { readonly uuid: DomainUuid; readonly name: string };
  readonly target: string;
  readonly leaf: Leaf;
  readonly path: string;
  readonly bytes: number;
  readonly changed: boolean;
  readonly by: 'hypervisor' | 'image';
}

/** One disk of a domain that lies in a volume of ours. */
export interface ListedVmDisk {
  readonly domain: { readonly uuid: DomainUuid; readonly name: string; readonly running: boolean };
  readonly target: string;
  readonly leaf: Leaf;
  /** Null when nothing is recorded of the leaf. */
  readonly url: string | null;
  readonly disk: string;
  readonly path: string;
  readonly format: string | null;
  readonly readOnly: boolean;
  readonly live: boolean;
  readonly persistent: boolean;
  /** The attachment that keeps its volume mounted, or null: whoever attached it did not tell Fairlead. */
  readonly attachment: string | null;
  /** Whose attachment that is: `vm:` or `nova:`. */
  readonly consumer: Consumer | null;
}

/**
 * An attachment of a domain that does not exist (`no-domain`), or names no file of the volume (`unused`), as seen
 * just now.
 */
export interface ListedVmOrphan {
  readonly attachment: string;
  readonly consumer: Consumer;
  readonly leaf: Leaf;
  readonly url: string | null;
  /** Null: the whole volume, with no disk named. */
  readonly disk: DiskName | null;
  readonly why: Orphanhood;
  /** It has been so for `libvirt.evidence_age`: nobody is just about to give the domain the disk. */
  readonly confirmed: boolean;
}

/** Disks of domains in our volumes. */
export interface VmListReply {
  readonly disks: readonly ListedVmDisk[];
  /** Empty when a domain could not be read: then nothing may be concluded. One in the middle of an attach is seen here too. */
  readonly orphans: readonly ListedVmOrphan[];
  /** False when a domain could not be read. */
  readonly complete: boolean;
}

/** The libvirt door, as other doors see it. Failures are FairleadErrors; any failure undoes what was done. */
export interface VmDoor {
  attach(request: VmAttachRequest, context: RequestContext): Promise<VmAttachReply>;
  detach(request: VmDetachRequest, context: RequestContext): Promise<VmDetachReply>;
  extend(request: VmExtendRequest, context: RequestContext): Promise<VmExtendReply>;
  list(context: RequestContext): Promise<VmListReply>;
  /** What is wrong with the hypervisor process, libvirt and qemu-img; that is an answer, never a failure. */
  findings(context: RequestContext): Promise<readonly Finding[]>;
}
