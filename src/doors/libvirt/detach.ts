// Detach: the guest lets go first, then the attachment ends. A guest that refuses keeps both. What Nova attached, or somebody else without
// Fairlead, is not taken away behind their backs.

import { Deadline } from '../../core/deadline.js';
import { filesOf, filesOnLeaves } from '../../core/domain-use.js';
import { isDomainUuid, type Domain, type DomainDisk, type DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import type { DiskName } from '../../core/names.js';
import { diskPathOf } from '../../core/paths.js';
import type { DisconnectReply, RequestContext } from '../../core/requests.js';
import type { VmDetachReply, VmDetachRequest } from '../../core/vm-requests.js';
import { escapeForLog, listed } from '../../core/text.js';
import type { Leaf, Volume } from '../../core/volume.js';
import { answerInTime, isRefusal, look, notKnown, stepTime, UNDO_MS, unhurried, withSentence } from './operation.js';
import type { Begun } from './begun.js';
import { attachmentOf, attachmentsOf, consumerOf, diskAt, isNovas, usesFile } from './ours.js';
import type { LibvirtDoorPorts } from './ports.js';
import { diskTurn, type Turns } from './turns.js';

const ATTACHMENT_KEPT = 'Its attachment is kept.';
const KEPT = 'The disk and its attachment are left as they are.';
const ATTACHMENT_LEFT =
  'The domain no longer has the disk, but its attachment may not have ended: say fairlead vm detach again, with URL and --disk.';

/** Which disk of which domain it comes to; the domain may be gone. */
interface Found {
  readonly uuid: DomainUuid;
  /** Null: there is no such domain any more. */
  readonly domain: Domain | null;
  readonly volume: Volume;
  readonly disk: DiskName;
  readonly path: string;
  /** The disk as the domain has it; null: it has none. */
  readonly described: DomainDisk | null;
}

/** Takes the disk away from the domain, once, and ends its attachment. */
export async function detach(
  ports: LibvirtDoorPorts,
  turns: Turns,
  begun: Begun,
  request: VmDetachRequest,
  context: RequestContext,
): Promise<VmDetachReply> {
  const deadline = new Deadline(ports.clock, context.deadlineMs);
  return await answerInTime(ports, deadline, async () => {
    const meant = find(ports, begun, request, await findDomain(ports, request, deadline));
    const { uuid } = meant;
    const key = diskTurn(uuid, meant.volume.leaf, meant.disk);
    return await turns.take(key, deadline, context.signal, async () => {
      // As it is now: an earlier operation on this disk may just have ended.
      const found = again(meant, request, await findDomain(ports, request, deadline));
      refuseOthers(ports, found);
      await refuseHung(ports, found, deadline);
      const target = request.choice.by === 'target' ? request.choice.target : null;
      if (target !== null) begun.remember(uuid, target, found);
      const changed = await unplug(ports, found, deadline);
      await refuseUsed(ports, found, deadline);
      const ended = await disconnect(ports, found, deadline, changed);
      if (target !== null) begun.forget(uuid, target);
      const { domain, described } = found;
      return { ...ended, domain: { uuid, name: domain?.name ?? uuid }, target: described?.target ?? null, changed };
    });
  });
}

function find(ports: LibvirtDoorPorts, begun: Begun, request: VmDetachRequest, domain: Domain | DomainUuid): Found {
  const { choice } = request;
  if (choice.by === 'target') {
    if (typeof domain === 'string') throw noSuchDomain(request, null);
    const { uuid } = domain;
    if (domain.disks.some(({ target }) => target === choice.target)) {
      const { described, path, volume, disk } = diskAt(ports, domain, choice.target);
      return { uuid, domain, volume, disk, path, described };
    }
    const left = begun.recall(domain, choice.target);
    if (left === null) throw noSuchTarget();
    return { uuid, domain, ...left, described: null };
  }
  const { volume, disk } = choice;
  const path = diskPathOf(ports.volumes.mountBaseOf(volume), volume.leaf, disk);
  if (typeof domain === 'string') return { uuid: domain, domain: null, volume, disk, path, described: null };
  return { uuid: domain.uuid, domain, volume, disk, path, described: withPath(domain, path) };
}

/** What was found, as it is now; `conflict` if the name leads to something else by now. */
function again(meant: Found, { choice }: VmDetachRequest, domain: Domain | DomainUuid): Found {
  const uuid = typeof domain === 'string' ? domain : domain.uuid;
  const described = typeof domain === 'string' ? null : withPath(domain, meant.path);
  const moved = choice.by === 'target' && described !== null && described.target !== choice.target;
  const replaced =
    choice.by === 'target' &&
    described === null &&
    typeof domain !== 'string' &&
    domain.disks.some(({ target }) => target === choice.target);
  if (uuid !== meant.uuid || moved || replaced) {
    throw new FairleadError('conflict', 'The disk at this target was changed meanwhile. Look at fairlead vm ls.', {
      field: 'target',
    });
  }
  return { ...meant, domain: typeof domain === 'string' ? null : domain, described };
}

function withPath({ disks }: Domain, path: string): DomainDisk | null {
  return disks.find((disk) => disk.path === path) ?? null;
}

/** The domain, or, when it is gone, its UUID alone if it was named by that. */
async function findDomain(
  { hypervisor }: LibvirtDoorPorts,
  request: VmDetachRequest,
  deadline: Deadline,
): Promise<Domain | DomainUuid> {
  try {
    return await hypervisor.domain(request.domain, deadline.remaining);
  } catch (error) {
    if (!(error instanceof FairleadError) || error.code !== 'not-found') throw error;
    const name: string = request.domain;
    if (isDomainUuid(name)) return name;
    throw noSuchDomain(request, error);
  }
}

function noSuchDomain({ choice, domain }: VmDetachRequest, cause: FairleadError | null): FairleadError {
  const how = [
    ...(isDomainUuid(domain) ? [] : ['its UUID (fairlead ls shows it)']),
    ...(choice.by === 'disk' ? [] : ['URL and --disk']),
  ].join(', ');
  return new FairleadError(
    'not-found',
    `There is no such domain. To end what is left of one that is gone, name it by ${how}.`,
    { field: 'domain', cause },
  );
}

function noSuchTarget(): FairleadError {
  return new FairleadError(
    'not-found',
    'The domain has no disk at this target; fairlead vm ls shows those it has. If the guest has let go of it already, name it by URL and --disk: that ends what is left of it.',
    { field: 'target' },
  );
}

function refuseOthers({ engine }: LibvirtDoorPorts, { uuid, volume: { leaf }, disk, described }: Found): void {
  const attachment = attachmentOf(engine.list(), leaf, uuid, disk);
  if (attachment !== undefined && isNovas(attachment)) {
    throw new FairleadError(
      'conflict',
      'Nova has attached this disk and would go on believing that it is there. Use openstack server remove volume. Only for what Nova has forgotten: virsh detach-disk, then fairlead disconnect URL --disk NAME --consumer nova:UUID.',
      { leaf },
    );
  }
  if (attachment === undefined && described !== null) {
    throw new FairleadError(
      'conflict',
      "Fairlead did not attach this disk: somebody else gave it to the domain. Take it away in the same way (virsh detach-disk), or say fairlead vm attach for it first: then it is Fairlead's to detach.",
      { leaf },
    );
  }
}

/**
 * A guest that has nothing to write lets go at once. Then QEMU closes the file, in its main loop, and waits there for a volume that hangs: the
 * whole guest stands still. Seen with QEMU 7.2 and a FUSE file system that does not answer.
 */
async function refuseHung(
  { engine }: LibvirtDoorPorts,
  { volume, described }: Found,
  deadline: Deadline,
): Promise<void> {
  if (described?.live !== true) return;
  try {
    const { verdict } = await engine.validate(volume, unhurried(stepTime(deadline, 'look')));
    if (verdict !== 'hung') return;
  } catch (error) {
    // What was allowed once must stay possible to take away.
    if (error instanceof FairleadError && error.code === 'permission-denied') return;
    throw error;
  }
  throw new FairleadError(
    'hung',
    `The volume does not answer, and QEMU would stand still with the whole guest if it lost the disk now. Try again when it answers; if it never will: fairlead abort ${volume.leaf}.`,
    { leaf: volume.leaf },
  );
}

/** Was anything done? Afterwards the domain certainly does not have the disk. */
async function unplug(ports: LibvirtDoorPorts, found: Found, deadline: Deadline): Promise<boolean> {
  const { uuid, domain, volume, disk, path } = found;
  if (domain === null) return false;
  try {
    const { changed } = await ports.hypervisor.unplug({ domain: uuid, volume, disk }, stepTime(deadline, 'look'));
    return changed;
  } catch (error) {
    const code = error instanceof FairleadError ? error.code : null;
    // Nothing was tried. Only a domain that is gone is worth another look.
    if (isRefusal(error) && code !== 'not-found') throw error;
    const seen = await look(ports, uuid, deadline);
    if (seen === null) throw notKnown(error, KEPT);
    if (seen.seen === 'domain' && usesFile(seen.domain, path)) throw error;
    return true;
  }
}

/**
 * An attachment does not end while the domain needs the volume under another name: an external snapshot or a block
 * pull renames a disk, and an overlay elsewhere rests on it. Another attachment of the domain keeps the mount as well
 * as this one.
 */
async function refuseUsed(
  ports: LibvirtDoorPorts,
  { uuid, domain, volume, disk, path, described }: Found,
  deadline: Deadline,
): Promise<void> {
  if (domain === null) return;
  const { leaf } = volume;
  const ours = attachmentsOf(ports.engine.list(), leaf, uuid);
  if (!ours.some((one) => one.disk === disk)) return;
  const seen = await look(ports, uuid, deadline);
  if (seen === null) throw notKnown(null, ATTACHMENT_KEPT);
  if (seen.seen === 'no-domain') return;
  if (usesFile(seen.domain, path)) throw stillUsed(leaf, [disk]);
  if (ours.length > 1) return;
  const files = filesOnLeaves(filesOf(seen.domain)).get(leaf);
  if (files !== undefined) throw stillUsed(leaf, [...files]);
  const { unknown } = seen.domain;
  // A disk that the domain had until now was its own, and what another image of it rests on has not changed.
  if (unknown === undefined || (unknown === 'backing' && described !== null)) return;
  throw new FairleadError(
    'unavailable',
    `${UNKNOWN[unknown]} So the domain may still need the volume. ${ATTACHMENT_KEPT} Then say the same again. If you know that it does not: fairlead disconnect URL --disk NAME --consumer vm:UUID.`,
    { leaf },
  );
}

const UNKNOWN = {
  files:
    "Not every file of the domain could be found out: look at virsh dumpxml and at libvirt's storage pools (virsh pool-list --all).",
  backing: 'While the domain does not run, libvirt does not tell what its other images rest on: start it.',
} as const;

function stillUsed(leaf: Leaf, files: readonly string[]): FairleadError {
  return new FairleadError(
    'busy',
    `The domain still names ${listed(files.map((file) => (file === '' ? 'the volume itself' : escapeForLog(file))))} on this volume, perhaps since an external snapshot or a block pull. ${ATTACHMENT_KEPT} Look at virsh dumpxml; take these from the domain or commit the snapshot, then say the same again with URL and --disk.`,
    { field: 'disk', leaf },
  );
}

async function disconnect(
  { engine }: LibvirtDoorPorts,
  { uuid, volume, disk }: Found,
  deadline: Deadline,
  unplugged: boolean,
): Promise<DisconnectReply> {
  try {
    // The guest has let go: its attachment must not outlive that because the time is up.
    const ms = Math.max(deadline.remaining, UNDO_MS);
    return await engine.disconnect({ volume, disk, consumer: consumerOf(uuid) }, unhurried(ms));
  } catch (error) {
    throw unplugged ? withSentence(error, ATTACHMENT_LEFT) : error;
  }
}
