// `unplug`: a domain loses a disk, running and at its next start. A guest may take its time, or never let go; then the disk is still there,
// and that is what is answered. Asked again, the same goes on where it was.

import { until } from '../../core/deadline.js';
import type { Domain, DomainDisk, DomainName, DomainUuid } from '../../core/domains.js';
import { type ErrorCode, FairleadError } from '../../core/errors.js';
import { DOMAIN_LOOK_MS, RELEASE_POLL_FIRST_MS, RELEASE_POLL_LAST_MS } from '../../core/limits.js';
import { detachXml } from '../detach-xml.js';
import { type DiskPlace, placeOf } from '../place.js';
import { alone, type Call, type Handler } from './handler.js';

/** Errors after which libvirt may still be at work on what it was asked before. */
const NO_TURN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['busy', 'deadline-exceeded', 'unavailable', 'stuck']);

/** See the file's head. */
export const unplug: Handler<'unplug'> = async (call, request) => {
  // Not authorised: what was allowed once must stay possible to take away.
  const place = placeOf(call.context, request);
  return await alone(call, request.domain, async () => {
    let ours = disksOf(await look(call, request.domain), place);
    if (ours.length === 0) {
      await awaitActs(call, request.domain, place);
      ours = disksOf(await look(call, request.domain), place);
    }
    if (ours.length === 0) return { changed: false };
    // The running one first: while the guest keeps the disk, its next start has it too.
    for (const disk of ours.filter((one) => one.live)) await takeFromGuest(call, request.domain, place, disk);
    const persistent = disksOf(await look(call, request.domain), place).filter((one) => one.persistent);
    for (const disk of persistent) await takeFromConfig(call, request.domain, disk, place);
    await requireGone(call, request.domain, place);
    call.context.log.info('disk-unplugged', { domain: request.domain, leaf: place.volume.leaf });
    return { changed: true };
  });
};

/**
 * Waits until libvirt is done with what it was asked to do with the domain: a plug whose asker has died may still be under way, and a
 * domain's description does not wait for it. A question about a disk does: libvirt answers it in its turn, be it that there is
 * no such disk. Throws where that turn did not come.
 */
async function awaitActs({ context, deadline }: Call, domain: DomainUuid, { path }: DiskPlace): Promise<void> {
  try {
    await context.libvirt.blockInfo(domain, path, Math.max(1, deadline.before(DOMAIN_LOOK_MS)));
  } catch (error) {
    if (!(error instanceof FairleadError) || NO_TURN.has(error.code)) throw error;
  }
}

function look({ context, deadline }: Call, domain: DomainUuid): Promise<Domain> {
  return context.libvirt.domain(domain as string as DomainName, Math.max(1, deadline.remaining));
}

function disksOf(domain: Domain, { path }: DiskPlace): readonly DomainDisk[] {
  return domain.disks.filter((disk) => disk.path === path);
}

async function takeFromGuest(call: Call, domain: DomainUuid, place: DiskPlace, disk: DomainDisk): Promise<void> {
  const refused = await detach(call, domain, disk, place, 'live');
  const { context, deadline } = call;
  // The event only wakes us up: what the domain's description says decides.
  const pauses = { first: RELEASE_POLL_FIRST_MS, last: RELEASE_POLL_LAST_MS };
  const gone = await until(context.clock, deadline.before(DOMAIN_LOOK_MS / 2), pauses, async () => {
    const now = await lookOrNull(call, domain);
    return now === null || disksOf(now, place).some((one) => one.live) ? null : true;
  });
  if (gone === true) return;
  // libvirt was refused by QEMU, or refused itself: perhaps only because an earlier request is under way in the guest, which
  // its words alone would tell. It was waited for; now its reason is the best that is known. A call that was late is no reason: libvirt
  // itself waits for the guest in it.
  const noReason = ['busy', 'helper-failed', 'deadline-exceeded'];
  if (refused !== null && !noReason.includes(refused.code)) throw refused;
  throw new FairleadError(
    'busy',
    `The guest did not release the disk at ${disk.target} in time; it is still attached. Unmount it inside the guest, then try again: the request stays with the guest until it is released or the guest restarts.`,
    {
      field: 'disk',
      leaf: place.volume.leaf,
      ...(refused?.helperOutput === undefined ? {} : { helperOutput: refused.helperOutput }),
    },
  );
}

async function takeFromConfig(call: Call, domain: DomainUuid, disk: DomainDisk, place: DiskPlace): Promise<void> {
  const refused = await detach(call, domain, disk, place, 'config');
  if (refused === null) return;
  const now = await look(call, domain);
  if (disksOf(now, place).some((one) => one.persistent)) throw refused;
}

/** Asks libvirt; returns what it refused, since somebody else may have done it meanwhile, or an earlier request may be under way. */
async function detach(
  call: Call,
  domain: DomainUuid,
  disk: DomainDisk,
  place: DiskPlace,
  scope: 'live' | 'config',
): Promise<FairleadError | null> {
  const { context, deadline } = call;
  const budgetMs = Math.max(1, deadline.before(Math.min(DOMAIN_LOOK_MS, deadline.remaining / 3)));
  try {
    const xml = detachXml({ file: place.path, target: disk.target, bus: disk.bus });
    await context.libvirt.detachDevice(domain, xml, scope, budgetMs);
    return null;
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    return error;
  }
}

async function lookOrNull(call: Call, domain: DomainUuid): Promise<Domain | null> {
  try {
    return await look(call, domain);
  } catch (error) {
    // A domain that has ended meanwhile keeps no disk; one that cannot be read now is looked at again.
    if (!(error instanceof FairleadError) || error.code === 'not-found') throw error;
    return null;
  }
}

async function requireGone(call: Call, domain: DomainUuid, place: DiskPlace): Promise<void> {
  if (disksOf(await look(call, domain), place).length === 0) return;
  const message = 'The domain has the disk again, or still: somebody else changes it. Try again.';
  throw new FairleadError('busy', message, { field: 'disk', leaf: place.volume.leaf });
}
