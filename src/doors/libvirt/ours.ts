// Which disks of domains are ours: files right below the mountpoint of a volume, and the attachments that keep them there. Pure.

import { isDomainUuid, type Domain, type DomainDisk, type DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { parseConsumer, parseDiskName, userOf, type Consumer, type DiskName } from '../../core/names.js';
import { isBelow } from '../../core/paths.js';
import type { ListedMount, ListReply } from '../../core/requests.js';
import { isLeaf, type Leaf, type Volume } from '../../core/volume.js';
import type { LibvirtDoorPorts } from './ports.js';

/** One attachment as the engine lists it. */
export type ListedAttachment = ListedMount['attachments'][number];

/** The consumer that a domain is. */
export function consumerOf(uuid: DomainUuid): Consumer {
  return parseConsumer(`vm:${uuid}`, 'domain');
}

/** The domain that a consumer is, by whatever name; null for consumers that are no domains. */
export function uuidOf(consumer: Consumer): DomainUuid | null {
  const [kind, id = ''] = userOf(consumer).split(':');
  return kind === 'vm' && isDomainUuid(id) ? id : null;
}

/** The attachment of this disk whose user is this domain, whether it is called `vm:` or `nova:`. */
export function attachmentOf(
  list: ListReply,
  leaf: Leaf,
  uuid: DomainUuid,
  disk: string | null,
): ListedAttachment | undefined {
  return attachmentsOf(list, leaf, uuid).find((one) => one.disk === disk);
}

/** All attachments of this volume whose user is this domain. */
export function attachmentsOf(list: ListReply, leaf: Leaf, uuid: DomainUuid): readonly ListedAttachment[] {
  const user = userOf(consumerOf(uuid));
  const mount = list.mounts.find((one) => one.leaf === leaf);
  return mount?.attachments.filter(({ consumer }) => userOf(consumer) === user) ?? [];
}

/** Whether Nova made this attachment: then it is Nova's to end. */
export function isNovas({ consumer }: Pick<ListedAttachment, 'consumer'>): boolean {
  return consumer.startsWith('nova:');
}

/** Whether the domain has the file, as a disk or below one. */
export function usesFile({ disks, otherFiles }: Domain, path: string): boolean {
  return disks.some((disk) => disk.path === path) || otherFiles.includes(path);
}

/** Leaf and file of a path below one of the mount bases; null for every other path. */
export function placeOf(path: string, mountBases: readonly string[]): { leaf: Leaf; file: string } | null {
  const base = mountBases.find((candidate) => isBelow(path, candidate));
  if (base === undefined) return null;
  const [leaf = '', ...rest] = path.slice(base.length + 1).split('/');
  return isLeaf(leaf) && rest.length > 0 ? { leaf, file: rest.join('/') } : null;
}

/** A domain's disk that lies in a volume of ours. */
export interface OurDisk {
  readonly described: DomainDisk;
  readonly path: string;
  readonly volume: Volume;
  readonly disk: DiskName;
}

/** The disk at this target; `not-found` when there is none, or when it lies in no volume of ours. */
export function diskAt(
  { engine, volumes, settings }: Pick<LibvirtDoorPorts, 'engine' | 'volumes' | 'settings'>,
  domain: Domain,
  target: string,
): OurDisk {
  const found = domain.disks.filter((disk) => disk.target === target);
  const described = found.find((disk) => disk.live) ?? found[0];
  if (described === undefined) {
    throw new FairleadError('not-found', 'The domain has no disk at this target; fairlead vm ls shows those it has.', {
      field: 'target',
    });
  }
  const { path } = described;
  const place = path === null ? null : placeOf(path, settings.mountBases);
  const url = engine.list().mounts.find(({ leaf }) => leaf === place?.leaf)?.url ?? null;
  if (path === null || place === null || place.file.includes('/') || url === null) {
    throw new FairleadError(
      'not-found',
      'The disk at this target lies in no volume that Fairlead has mounted; use virsh for it.',
      { field: 'target' },
    );
  }
  return {
    described,
    path,
    volume: volumes.parseVolume(url, 'target'),
    disk: parseDiskName(place.file, 'target'),
  };
}
