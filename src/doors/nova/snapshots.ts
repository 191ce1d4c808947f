// One Cinder volume under the names that its file has in the course of time. A snapshot that Cinder has Nova make of an attached volume
// gives the guest a new file on top of the old one, and Cinder writes the new name into the record (its remotefs driver): an instance
// that was connected with `volume-ID` is then disconnected with `volume-ID.SNAPSHOT`, or the other way round after a snapshot was
// deleted. Pure.

import { userOf, type Consumer, type DiskName } from '../../core/names.js';
import type { ListedMount } from '../../core/requests.js';
import type { Leaf } from '../../core/volume.js';

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
/** What is before the snapshot must end with an id itself, so that names that only have an id at their end stay whole. */
const SNAPSHOT = new RegExp(`^(.*${UUID})\\.${UUID}$`);

/** What of a disk's name stays the same, whatever snapshots are made of it. */
function originOf(disk: DiskName): string {
  return SNAPSHOT.exec(disk)?.[1] ?? disk;
}

/** An attachment as the engine lists it, with a disk. */
type Attached = ListedMount['attachments'][number] & { readonly disk: DiskName };

/** The attachments that a consumer has of this disk, under whatever name; of another name first. */
export function attachedAs(
  mounts: readonly ListedMount[],
  leaf: Leaf,
  consumer: Consumer,
  disk: DiskName,
): readonly Attached[] {
  return (mounts.find((mount) => mount.leaf === leaf)?.attachments ?? [])
    .filter((one): one is Attached => one.disk !== null && originOf(one.disk) === originOf(disk))
    .filter((one) => userOf(one.consumer) === userOf(consumer))
    .sort((one, other) => Number(one.disk === disk) - Number(other.disk === disk));
}
