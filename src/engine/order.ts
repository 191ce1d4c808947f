// Puts one leaf in order: what is recorded meets what the world shows, and core/recover.ts decides. The same at start,
// after a failed connect, and in the background, so that a crash and a failure end alike.

import { remedyFor, type Remedy } from '../core/recover.js';
import type { Observation } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { ensureUsable } from './ensure.js';
import { closing } from './execute.js';
import { NOBODY, release } from './release.js';

/** Milliseconds for looking at a leaf and, where it comes to that, for letting its mount go. */
const ORDER_MS = 30_000;
/** Milliseconds for mounting a volume again that has users. */
const RESTORE_MS = 120_000;

/**
 * `in-order`: nothing is left to do. `again`: something is in the way now. `watch`: the leaf is free, and somebody else's
 * end is waited for, which is cheap to see.
 */
export type Order = 'in-order' | 'again' | 'watch';

/**
 * Decides and does. Nothing may act on the leaf any more (settle.ts), and the caller holds its lock. Rejects with what
 * stands in the way; what was begun is then still in the journal.
 */
export async function putInOrder(context: Context, volume: Volume): Promise<Order> {
  const { state, ports } = context;
  const { leaf } = volume;
  const deadline = new Deadline(ports.clock, ORDER_MS);
  const observation = await context.observe(volume, state.isUsed(leaf) ? 'read-only' : null, deadline.remaining);
  const remedy = remedyFor({
    record: state.mounts.get(leaf),
    operation: state.operations.get(leaf),
    attachments: state.attachmentsOf(leaf).length,
    held: state.holds.has(leaf),
    observation,
    bootId: ports.settings.bootId,
    onVanish: ports.settings.onVanish,
  });
  ports.log.info('remedy', { leaf, remedy });
  return carryOutRemedy(context, volume, remedy, observation, deadline);
}

async function carryOutRemedy(
  context: Context,
  volume: Volume,
  remedy: Remedy,
  observation: Observation,
  deadline: Deadline,
): Promise<Order> {
  const { leaf } = volume;
  switch (remedy) {
    case 'keep':
    case 'report-vanished':
      await context.commit([...mounted(context, volume), ...closing(context, volume)]);
      context.note(observation);
      return 'in-order';
    case 'restore':
      await restore(context, volume);
      return 'in-order';
    case 'release':
      return releaseNow(context, volume, deadline);
    case 'hold': {
      // No probe was asked for: it cannot be told now whether the mount is the volume, so nothing is promised to it.
      if (observation.judgement !== undefined) return 'again';
      const hold = { leaf, reason: 'inherited', since: context.ports.clock.date() } as const;
      await context.commit([...mounted(context, volume), { kind: 'put-hold', hold }, ...closing(context, volume)]);
      context.note(observation);
      return 'in-order';
    }
    case 'forget': {
      // A directory of which nothing is recorded is not ours to remove.
      if (!context.state.leaves().has(leaf)) return 'in-order';
      return releaseNow(context, volume, deadline);
    }
  }
}

async function releaseNow(context: Context, volume: Volume, deadline: Deadline): Promise<Order> {
  const { outcome, isEnding } = await release(context, volume, deadline, NOBODY);
  if (outcome === 'releasing' || isEnding) return 'watch';
  return outcome === 'released' ? 'in-order' : 'again';
}

/** Brings back the mount that its users have lost. If that fails the journal, if one was begun, still owes it. */
async function restore(context: Context, volume: Volume): Promise<void> {
  const { state, ports, stopping } = context;
  const readOnly = state.attachmentsOf(volume.leaf).every((attachment) => attachment.readOnly);
  const deadline = new Deadline(ports.clock, RESTORE_MS, stopping.signal);
  const nobody = { isAnswered: () => false, failing: () => undefined };
  const want = { access: readOnly ? 'read-only' : 'read-write', disk: null, came: null } as const;
  const { observation } = await ensureUsable(context, volume, want, deadline, nobody);
  ports.reach('recover.verified');
  await context.commit([...mounted(context, volume), ...closing(context, volume)]);
  context.note(observation);
}

/** The record of a mount in use, as of this boot, unless it is there. */
function mounted(context: Context, volume: Volume): readonly Change[] {
  const { bootId } = context.ports.settings;
  const record = context.state.mounts.get(volume.leaf);
  if (record?.state === 'mounted' && record.bootId === bootId) return [];
  return [{ kind: 'put-mount', mount: { volume, state: 'mounted', bootId } }];
}
