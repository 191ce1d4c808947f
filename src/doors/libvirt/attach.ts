// Attach: connect, make the image if that was asked for, hot-plug, see it in the domain. One operation: what fails undoes what this
// request did, in reverse, and nothing else. A mount is never taken from under a guest: while nobody can say whether the domain has the
// disk, its attachment stays.

import { Deadline } from '../../core/deadline.js';
import type { Domain, DomainDisk, DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { diskPathOf } from '../../core/paths.js';
import type { ConnectReply, RequestContext } from '../../core/requests.js';
import { refusal } from '../../core/text.js';
import type { VmAttachReply, VmAttachRequest } from '../../core/vm-requests.js';
import {
  answerInTime,
  isRefusal,
  look,
  nameOf,
  notKnown,
  stepTime,
  UNDO_MS,
  unhurried,
  withSentence,
  type Exchange,
} from './operation.js';
import { attachmentOf, consumerOf, isNovas } from './ours.js';
import type { LibvirtDoorPorts } from './ports.js';
import { checkTarget, freeTarget } from './targets.js';
import { diskTurn, domainTurn, type Turns } from './turns.js';

const FILE_THERE = 'The file was there already: no image was made, and its size is what it was.';
const IMAGE_STAYS = 'The image that was made for it stays in the volume.';
const IMAGE_MAY_STAY = 'The image may have been made; then it stays in the volume.';
const KEPT = 'Its attachment is kept, so that no guest loses its mount.';
const NOT_UNDONE = 'Undoing it failed too: fairlead vm ls shows what is left, and fairlead vm detach takes it away.';

/** What one attach works with. */
interface Attach {
  readonly ports: LibvirtDoorPorts;
  readonly turns: Turns;
  readonly request: VmAttachRequest;
  readonly uuid: DomainUuid;
  readonly deadline: Deadline;
  readonly exchange: Exchange;
}

/** How it ended in the domain; after a failure, what has to be taken back: the disk and the attachment, the attachment alone, nothing. */
type End =
  | { readonly end: 'done'; readonly domain: Domain; readonly target: string; readonly changed: boolean }
  | { readonly end: 'failed'; readonly error: unknown; readonly undo: 'all' | 'connect' | 'nothing' };

/** Gives the domain the disk, once. */
export async function attach(
  ports: LibvirtDoorPorts,
  turns: Turns,
  request: VmAttachRequest,
  context: RequestContext,
): Promise<VmAttachReply> {
  if (request.target !== null) checkTarget(request.target, request.bus);
  const deadline = new Deadline(ports.clock, context.deadlineMs);
  return await answerInTime(ports, deadline, async (exchange) => {
    const domain = await ports.hypervisor.domain(request.domain, deadline.remaining);
    const { uuid } = domain;
    checkScope(domain, request);
    checkFree(domain, request, ports);
    const key = diskTurn(uuid, request.volume.leaf, request.disk);
    return await turns.take(key, deadline, context.signal, async () => {
      if (context.signal.aborted) throw tooLate();
      return await attachInTurn({ ports, turns, request, uuid, deadline, exchange });
    });
  });
}

async function attachInTurn(attach: Attach): Promise<VmAttachReply> {
  const { request, uuid } = attach;
  const { volume } = request;
  const connected = await connect(attach);
  let created = false;
  let end: End;
  try {
    refuseNovas(attach, connected);
    created = await makeImage(attach, connected);
    end = await plug(attach, connected);
  } catch (error) {
    end = { end: 'failed', error, undo: 'connect' };
  }
  if (end.end === 'failed') throw await takeBack(attach, connected, created, end);
  return {
    attachment: connected.attachment,
    domain: { uuid, name: end.domain.name },
    target: end.target,
    leaf: volume.leaf,
    path: connected.path,
    changed: connected.changed || created || end.changed,
    created,
    // Connect's note that read-only is advisory is not passed on: the disk's description enforces it.
    notes: request.create !== null && !created ? [FILE_THERE] : [],
  };
}

async function connect({ ports, request, uuid, deadline }: Attach): Promise<ConnectReply> {
  const { volume, disk, access } = request;
  try {
    return await ports.engine.connect(
      { volume, disk, consumer: consumerOf(uuid), readOnly: access === 'read-only' },
      unhurried(stepTime(deadline, 'steps')),
    );
  } catch (error) {
    if (!(error instanceof FairleadError) || error.code !== 'conflict' || error.field !== 'readOnly') throw error;
    const now = access === 'read-only' ? 'read-write' : 'read-only';
    throw new FairleadError(
      'conflict',
      `This disk is attached to this domain already, ${now}. Take it away first with fairlead vm detach, or ask for the same.`,
      { field: 'readOnly', leaf: volume.leaf, cause: error },
    );
  }
}

/** A stopped domain has no hot-plug: only its next start can be told. */
function checkScope({ running }: Domain, { scope }: VmAttachRequest): void {
  if (running || scope === 'both') return;
  throw refusal(
    'persistent',
    'must be given (--persistent): the domain is not running, so the disk can only be for its next start',
  );
}

/** Early, so that no image is made in vain; the hypervisor process looks again. */
function checkFree({ disks }: Domain, { target, volume, disk }: VmAttachRequest, { volumes }: LibvirtDoorPorts): void {
  const path = diskPathOf(volumes.mountBaseOf(volume), volume.leaf, disk);
  if (target === null || !disks.some((one) => one.target === target && one.path !== path)) return;
  throw new FairleadError('conflict', `The domain has another disk at ${target}. Choose another target.`, {
    field: 'target',
  });
}

/** What Nova attached, Nova keeps account of. */
function refuseNovas({ ports, request, uuid }: Attach, { isNew }: ConnectReply): void {
  if (isNew) return;
  const attachment = attachmentOf(ports.engine.list(), request.volume.leaf, uuid, request.disk);
  if (attachment === undefined || !isNovas(attachment)) return;
  throw new FairleadError(
    'conflict',
    'Nova has attached this disk to this domain. Leave it to Nova: openstack server add volume and openstack server remove volume.',
    { field: 'disk', leaf: request.volume.leaf },
  );
}

async function makeImage({ ports, request, deadline }: Attach, connected: ConnectReply): Promise<boolean> {
  const { volume, disk, format, create } = request;
  if (connected.disk === 'present') return false;
  if (create === null) {
    throw new FairleadError(
      'not-found',
      'There is no such file in the volume. Check --disk, or have an image made with --create SIZE.',
      { field: 'disk', leaf: volume.leaf },
    );
  }
  try {
    const { created } = await ports.hypervisor.create(
      { volume, disk, format, bytes: create },
      stepTime(deadline, 'steps'),
    );
    return created;
  } catch (error) {
    throw isRefusal(error) ? error : withSentence(error, IMAGE_MAY_STAY);
  }
}

/** One at a time in a domain, so that two disks do not choose the same target. */
function plug(attach: Attach, connected: ConnectReply): Promise<End> {
  const { turns, uuid, deadline } = attach;
  return turns.take(domainTurn(uuid), deadline, null, () => plugInTurn(attach, connected));
}

async function plugInTurn(attach: Attach, { path }: ConnectReply): Promise<End> {
  const { ports, request, uuid, deadline, exchange } = attach;
  const { volume, disk, format, bus, access, options, scope } = request;
  // As it is now: connecting may have taken long.
  const domain = await ports.hypervisor.domain(nameOf(uuid), stepTime(deadline, 'steps'));
  checkScope(domain, request);
  const before = domain.disks.find((one) => one.path === path);
  const target = request.target ?? before?.target ?? freeTarget(domain, bus);
  if (deadline.remaining === 0 || exchange.isAnswered()) throw tooLate();
  const undo = before === undefined ? 'all' : 'connect';
  try {
    const plugged = await ports.hypervisor.plug(
      { domain: uuid, volume, disk, format, target, bus, access, options, scope },
      stepTime(deadline, 'look'),
    );
    // Whoever was told that it failed must not find it done.
    if (exchange.isAnswered()) return { end: 'failed', error: tooLate(), undo };
    return { end: 'done', domain, target, changed: plugged.changed };
  } catch (error) {
    if (isRefusal(error)) return { end: 'failed', error, undo: 'connect' };
    const unsure = notKnown(error, KEPT);
    exchange.failing(unsure);
    const seen = await look(ports, uuid, deadline);
    if (seen === null) return { end: 'failed', error: unsure, undo: 'nothing' };
    const now = seen.seen === 'domain' ? seen.domain : null;
    const there = now?.disks.find((one) => one.path === path);
    if (now !== null && there !== undefined && isAsWanted(there, target, now, request)) {
      return { end: 'done', domain: now, target, changed: before === undefined };
    }
    // Taken away even if it is not seen: libvirt may be about to do yet what it was asked, and does one thing after the other.
    return { end: 'failed', error: notGiven(error), undo };
  }
}

/** What is known once somebody has looked: an error that says that nobody knows would be wrong by now. */
function notGiven(error: unknown): unknown {
  if (!(error instanceof FairleadError)) return error;
  const { code } = error;
  if (code !== 'deadline-exceeded' && code !== 'unavailable') return error;
  return new FairleadError(code, 'libvirt did not give the domain the disk in time, or stopped answering. Try again.', {
    cause: error,
  });
}

function isAsWanted(disk: DomainDisk, target: string, { running }: Domain, request: VmAttachRequest): boolean {
  return (
    disk.target === target &&
    disk.readOnly === (request.access === 'read-only') &&
    (!running || disk.live) &&
    (disk.persistent || (running && request.scope === 'running'))
  );
}

/** Undoes what this operation did, in reverse; returns the error that is to be answered. */
async function takeBack(
  attach: Attach,
  connected: ConnectReply,
  created: boolean,
  { error, undo }: Extract<End, { end: 'failed' }>,
): Promise<unknown> {
  const { ports, request, uuid, exchange } = attach;
  const { volume, disk } = request;
  const told = created ? withSentence(error, IMAGE_STAYS) : error;
  if (told instanceof FairleadError) exchange.failing(told);
  try {
    if (undo === 'all') await unplug(attach);
    if (undo !== 'nothing' && connected.isNew) {
      await ports.engine.disconnect({ volume, disk, consumer: consumerOf(uuid) }, unhurried(UNDO_MS));
    }
    return told;
  } catch (failure) {
    ports.log.warn('vm-attach-not-undone', { domain: uuid, leaf: volume.leaf, error: failure });
    return withSentence(told, NOT_UNDONE);
  }
}

async function unplug({ ports, request, uuid }: Attach): Promise<void> {
  const { volume, disk } = request;
  try {
    await ports.hypervisor.unplug({ domain: uuid, volume, disk }, UNDO_MS);
  } catch (error) {
    // A domain that is gone has no disk.
    if (!(error instanceof FairleadError && error.code === 'not-found')) throw error;
  }
}

function tooLate(): FairleadError {
  return new FairleadError('deadline-exceeded', 'The request was not done in time, and was undone. Try again.');
}
