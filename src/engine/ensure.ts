// Brings a volume to where it can be used: observe, plan, carry out, observe again, until the plan says `ready`. Used by
// connect and by the restoring of mounts that have users.

import { errorFromBody, FairleadError } from '../core/errors.js';
import { planConnect, topmost } from '../core/plan.js';
import type { DiskName } from '../core/names.js';
import type { DiskSight, Observation } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { Access } from '../core/verdict.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';
import type { Deadline } from './deadline.js';
import type { Exchange } from './exchange.js';
import { carryOut } from './execute.js';
import type { Moment } from './looks.js';
import { settle } from './settle.js';

/** How often a plan may be made anew because the world changed under it. */
const MAX_PLANS = 4;

/** What was found and done. */
export interface Ensured {
  readonly observation: Observation;
  /** What the volume has under the disk's name; null where that was not asked for, or not looked at in a shared look. */
  readonly disk: DiskSight | null;
  /** Whether any step was carried out. */
  readonly changed: boolean;
  /** The right volume was mounted before we did anything. */
  readonly foundMounted: boolean;
}

/** What is wanted of a volume. */
export interface Want {
  readonly access: Access;
  /** A disk that the last observation is to tell of, or null. */
  readonly disk: DiskName | null;
  /** When whoever wants it asked for it; null: a look of its own is wanted. */
  readonly came: Moment | null;
}

/**
 * Resolves with the volume mounted, hardened, probed and usable as wanted. Rejects with what stands in the way; an
 * operation that was begun is then still open, and the caller decides what becomes of it. The caller holds the lock.
 */
export async function ensureUsable(
  context: Context,
  volume: Volume,
  { access, disk, came }: Want,
  deadline: Deadline,
  exchange: Pick<Exchange<unknown>, 'isAnswered' | 'failing'>,
): Promise<Ensured> {
  let changed = false;
  let foundMounted: boolean | null = null;
  const shared = came === null ? null : context.looks.since(volume.leaf, came, access);
  if (shared !== null) return { observation: shared, disk: null, changed, foundMounted: true };
  for (let plans = 0; plans < MAX_PLANS; plans++) {
    const began = context.looks.next();
    const observation = await context.observe(volume, access, deadline.remaining, disk);
    foundMounted ??= topmost(observation)?.recognised === true;
    const plan = planConnect(observation, access);
    if (plan.kind === 'refuse') throw plan.error;
    if (plan.kind === 'ready') {
      context.looks.keep(began, access, observation);
      return { observation, disk: observation.disk ?? null, changed, foundMounted };
    }
    if (deadline.isOver() || exchange.isAnswered()) throw lateError(volume);
    if (plan.kind === 'connect') context.ports.reach('connect.planned');
    const holders = plan.kind === 'recover' ? await context.holdersOf(volume, deadline.remaining) : [];
    const kind = hasUsers(context, volume) ? 'recover' : plan.kind;
    changed = true;
    const ended = await carryOut(context, kind, volume, plan.steps, deadline, opening(context, volume));
    const replaced = ended.end === 'done' || ended.step !== plan.steps[0];
    if (replaced && holders.length > 0)
      context.state.sightOf(volume.leaf).needsRestart = holders.filter(({ pid }) => pid > 0);
    if (ended.end === 'done') {
      foundMounted ||= ended.foundMounted;
      continue;
    }
    const error = errorFromBody(ended.error);
    if (ended.end === 'refused') throw error;
    exchange.failing(error);
    await settle(context, volume);
    // What hangs would only hang again.
    if (error.code === 'hung' || deadline.isOver() || exchange.isAnswered()) throw error;
  }
  throw new FairleadError(
    'unhealthy',
    'The volume did not stay mounted. Look at the log of its mount helper, then try again.',
    {
      leaf: volume.leaf,
    },
  );
}

function hasUsers(context: Context, volume: Volume): boolean {
  return context.state.attachmentsOf(volume.leaf).length > 0;
}

/** A mount's record, of this boot, is written with the journal's first entry: no effect is ever without one. */
function opening(context: Context, volume: Volume): readonly Change[] {
  const { bootId } = context.ports.settings;
  const record = context.state.mounts.get(volume.leaf);
  if (record?.bootId === bootId) return [];
  return [{ kind: 'put-mount', mount: { volume, state: record?.state ?? 'mounting', bootId } }];
}

function lateError(volume: Volume): FairleadError {
  return new FairleadError(
    'deadline-exceeded',
    'The deadline passed before the volume could be mounted. Try again with a longer --timeout.',
    {
      leaf: volume.leaf,
    },
  );
}
