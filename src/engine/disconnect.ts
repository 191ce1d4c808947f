// Disconnect: make an attachment cease. Its end is recorded first; then the answer is what is true of the mount.

import { FairleadError } from '../core/errors.js';
import type { Change } from '../core/records.js';
import type { DisconnectReply, DisconnectRequest, RequestContext } from '../core/requests.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { answerWithin, type Exchange } from './exchange.js';
import { release, type ReleaseEnd, type Releaser } from './release.js';

/** Ends the attachment, once, and lets the mount go if it was the last that kept it. */
export async function disconnect(
  context: Context,
  releaser: Releaser,
  request: DisconnectRequest,
  { deadlineMs, signal }: RequestContext,
): Promise<DisconnectReply> {
  const { volume } = request;
  context.checkRunning();
  const deadline = new Deadline(context.ports.clock, deadlineMs, signal);
  const unlock = await context.locks.acquireWithin(volume.leaf, deadline);
  return answerWithin<DisconnectReply>(context.ports.clock, context.ports.log, deadline, async (exchange) => {
    try {
      return await context.track(disconnectLocked(context, releaser, request, deadline, exchange));
    } finally {
      unlock();
    }
  });
}

async function disconnectLocked(
  context: Context,
  releaser: Releaser,
  { volume, consumer, disk }: DisconnectRequest,
  deadline: Deadline,
  exchange: Exchange<DisconnectReply>,
): Promise<DisconnectReply> {
  const { leaf } = volume;
  const { state } = context;
  const attachment = state.findAttachment(leaf, consumer, disk);
  if (attachment === undefined && !isReleasing(context, leaf)) {
    const mounted = await isMounted(context, volume, deadline);
    return { outcome: 'not-connected', mounted, leaf, usedBy: state.usersOf(leaf), holders: [] };
  }
  if (attachment !== undefined) {
    const last = state.attachmentsOf(leaf).length === 1 && !state.holds.has(leaf);
    const ended: Change = { kind: 'end-attachment', id: attachment.id };
    await context.commit(last ? [ended, releasingMount(context, volume)] : [ended]);
    context.ports.reach('disconnect.recorded');
    if (!last) {
      const mounted = await isMounted(context, volume, deadline);
      return { outcome: 'still-used', mounted, leaf, usedBy: state.usersOf(leaf), holders: [] };
    }
  }
  const reply = (end: ReleaseEnd): DisconnectReply => ({
    outcome: end.outcome === 'kept' ? 'still-used' : end.outcome,
    mounted: end.outcome !== 'released',
    leaf,
    usedBy: state.usersOf(leaf),
    holders: end.holders,
  });
  try {
    const end = await release(context, volume, deadline, {
      answer: (early) => exchange.answer(reply(early)),
      failing: (error) => exchange.failing(error),
    });
    if (end.outcome !== 'released') releaser.schedule(volume);
    return reply(end);
  } catch (error) {
    // The attachment's end is recorded; the release goes on without the request.
    releaser.schedule(volume);
    throw error;
  }
}

function isReleasing(context: Context, leaf: Leaf): boolean {
  return context.state.mounts.get(leaf)?.state === 'releasing' && !context.state.isUsed(leaf);
}

function releasingMount(context: Context, volume: Volume): Change {
  return { kind: 'put-mount', mount: { volume, state: 'releasing', bootId: context.ports.settings.bootId } };
}

/** What the mount table says; when nobody can look, what was recorded. */
async function isMounted(context: Context, volume: Volume, deadline: Deadline): Promise<boolean> {
  try {
    const observation = await context.observe(volume, null, deadline.remaining);
    return observation.mounts.some((mount) => mount.recognised);
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    const record = context.state.mounts.get(volume.leaf);
    return record !== undefined && !context.state.sightOf(volume.leaf).vanished;
  }
}

/** Lifts an inherited hold; the mount then goes away unless somebody is attached. */
export async function liftHold(
  context: Context,
  releaser: Releaser,
  leaf: Leaf,
  { deadlineMs, signal }: RequestContext,
): Promise<{ readonly lifted: boolean }> {
  context.checkRunning();
  const deadline = new Deadline(context.ports.clock, deadlineMs, signal);
  const unlock = await context.locks.acquireWithin(leaf, deadline);
  try {
    const record = context.state.mounts.get(leaf);
    if (!context.state.holds.has(leaf) || record === undefined) return { lifted: false };
    const last = context.state.attachmentsOf(leaf).length === 0;
    await context.commit([{ kind: 'lift-hold', leaf }, ...(last ? [releasingMount(context, record.volume)] : [])]);
    if (last) releaser.schedule(record.volume);
    return { lifted: true };
  } finally {
    unlock();
  }
}
