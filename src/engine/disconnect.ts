// Disconnect: make an attachment cease. Its end is recorded first; then the answer is what is true of the mount.

import { mayBeMounted } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { DisconnectReply, DisconnectRequest, LiftHoldRequest, RequestContext } from '../core/requests.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Caretaker } from './caretaker.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { underLock, type Exchange } from './exchange.js';
import { refuseUsed, useOf } from './held.js';
import { release, type ReleaseEnd } from './release.js';

/** Ends the attachment, once, and lets the mount go if it was the last that kept it. */
export function disconnect(
  context: Context,
  caretaker: Caretaker,
  request: DisconnectRequest,
  requestContext: RequestContext,
): Promise<DisconnectReply> {
  return underLock<DisconnectReply>(context, request.volume.leaf, requestContext, (deadline, exchange) =>
    disconnectLocked(context, caretaker, request, deadline, exchange),
  );
}

async function disconnectLocked(
  context: Context,
  caretaker: Caretaker,
  { volume, consumer, disk }: DisconnectRequest,
  deadline: Deadline,
  exchange: Exchange<DisconnectReply>,
): Promise<DisconnectReply> {
  const { leaf } = volume;
  const { state } = context;
  context.requireOwnLeaf(volume);
  const attachment = state.findAttachment(leaf, consumer, disk);
  if (attachment === undefined && !isReleasing(context, leaf)) {
    const mounted = await isMounted(context, volume, deadline);
    const others = state.disksOf(leaf, consumer);
    const usedBy = state.usersOf(leaf);
    return { outcome: 'not-connected', mounted, ending: false, leaf, usedBy, holders: [], disks: [...others] };
  }
  if (attachment !== undefined) {
    const last = state.attachmentsOf(leaf).length === 1 && !state.holds.has(leaf);
    const ended: Change = { kind: 'end-attachment', id: attachment.id };
    await context.commit(last ? [ended, releasingMount(context, volume)] : [ended]);
    context.ports.reach('disconnect.recorded');
    if (!last) {
      const mounted = await isMounted(context, volume, deadline);
      return { outcome: 'still-used', mounted, ending: false, leaf, usedBy: state.usersOf(leaf), holders: [] };
    }
  }
  const reply = (end: ReleaseEnd): DisconnectReply => ({
    outcome: end.outcome,
    mounted: end.outcome === 'busy' || end.outcome === 'hung',
    ending: end.isEnding,
    leaf,
    usedBy: state.usersOf(leaf),
    holders: end.holders,
  });
  try {
    const end = await release(context, volume, deadline, {
      answer: (early) => exchange.answer(reply(early)),
      failing: (error) => exchange.failing(error),
    });
    if (end.outcome !== 'released' || end.isEnding) caretaker.schedule(volume);
    return reply(end);
  } catch (error) {
    // The attachment's end is recorded; the release goes on without the request.
    caretaker.schedule(volume);
    throw error;
  }
}

function isReleasing(context: Context, leaf: Leaf): boolean {
  return context.state.mounts.get(leaf)?.state === 'releasing' && !context.state.isUsed(leaf);
}

function releasingMount(context: Context, volume: Volume): Change {
  return { kind: 'put-mount', mount: { volume, state: 'releasing', bootId: context.ports.settings.bootId } };
}

/** What the mount table says. Rejects when nobody can look: a guess would be a lie. */
async function isMounted(context: Context, volume: Volume, deadline: Deadline): Promise<boolean> {
  return mayBeMounted(await context.observe(volume, null, deadline.remaining));
}

/**
 * Lifts an inherited hold; the mount then goes away unless somebody is attached. Refuses while it is used, or may be,
 * unless forced.
 */
export async function liftHold(
  context: Context,
  caretaker: Caretaker,
  { leaf, force }: LiftHoldRequest,
  { deadlineMs, signal }: RequestContext,
): Promise<{ readonly lifted: boolean }> {
  const { state, ports, evidence } = context;
  const deadline = new Deadline(ports.clock, deadlineMs);
  // The first survey comes soon after the start. Not under the lock, so that nobody else waits for it.
  if (!force && state.holds.has(leaf)) await evidence.hear(deadlineMs / 2);
  return underLock(context, leaf, { deadlineMs: deadline.remaining, signal }, async (left) => {
    const record = state.mounts.get(leaf);
    if (!state.holds.has(leaf) || record === undefined) return { lifted: false };
    const { volume } = record;
    // Of what is not mounted nothing is taken away.
    if (!force && (await isMounted(context, volume, left)))
      refuseUsed(volume, await useOf(context, volume, left.remaining));
    await letGo(context, caretaker, volume, { kind: 'lift-hold', leaf });
    ports.log.info('hold-lifted', { leaf, by: 'operator', forced: force });
    return { lifted: true };
  });
}

/**
 * Makes durable that something no longer keeps the mount; if nothing else does, it is released in the background. The caller holds the
 * lock.
 */
export async function letGo(
  context: Context,
  caretaker: Caretaker,
  volume: Volume,
  change: Extract<Change, { kind: 'lift-hold' | 'end-attachment' }>,
): Promise<void> {
  const { leaf } = volume;
  const { state } = context;
  const attachments = state.attachmentsOf(leaf).filter(({ id }) => change.kind === 'lift-hold' || id !== change.id);
  const last = attachments.length === 0 && (change.kind === 'lift-hold' || !state.holds.has(leaf));
  await context.commit([change, ...(last ? [releasingMount(context, volume)] : [])]);
  if (last) caretaker.schedule(volume);
}
