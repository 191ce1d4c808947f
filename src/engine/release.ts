// Lets a mount go that nobody uses any more. What cannot be unmounted now is `releasing`: shown, tried again by the
// caretaker, cancelled by a new connect. The caller always holds the leaf's lock.

import { errorFromBody, type ErrorBody, type ErrorCode, FairleadError } from '../core/errors.js';
import { planDead, planRelease } from '../core/plan.js';
import { type Holder, mayBeMounted, type Observation } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { Outcome } from '../core/requests.js';
import type { Step } from '../core/steps.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';
import type { Deadline } from './deadline.js';
import type { Exchange } from './exchange.js';
import { carryOut, closing, type StepsEnd } from './execute.js';
import { settle } from './settle.js';

/** How often a release is planned anew because the world changed under it. */
const MAX_PLANS = 4;
/** Refusals that come before the broker looked at the mount at all. */
const NOT_TRIED: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'deadline-exceeded',
  'resource-exhausted',
  'stuck',
] as const);

/** What became of the mount. */
export interface ReleaseEnd {
  readonly outcome: Extract<Outcome, 'released' | 'releasing' | 'busy' | 'hung'>;
  /** Only after `released`: the client has not ended yet, and its record stays until it has. */
  readonly isEnding: boolean;
  readonly holders: readonly Holder[];
}

/** Something keeps the mount. */
function kept(outcome: 'releasing' | 'busy' | 'hung', holders: readonly Holder[] = []): ReleaseEnd {
  return { outcome, isEnding: false, holders };
}

/** Whoever waits for the answer: told the truth so far when a step may still act and the answer must not wait for its end. */
export type Listener = Pick<Exchange<ReleaseEnd>, 'answer' | 'failing'>;

/** Nobody waits for the answer. */
export const NOBODY: Listener = { answer: () => undefined, failing: () => undefined };

/**
 * Unmounts, verifies, records, whoever made the mount. Resolves with what is true of the mount then. Rejects when the
 * world cannot be seen, the journal cannot be written, or a step could not even be begun: the mount stays `releasing`.
 */
export async function release(
  context: Context,
  volume: Volume,
  deadline: Deadline,
  listener: Listener,
): Promise<ReleaseEnd> {
  for (let plans = 0; plans < MAX_PLANS; plans++) {
    const observation = await context.observe(volume, null, deadline.remaining);
    const plan = planRelease(observation);
    // What is forgotten because it was not there may have come back.
    if (plan.kind !== 'gone' && context.state.isUsed(volume.leaf)) throw isBack(volume);
    if (plan.kind === 'covered' || plan.kind === 'serving') {
      const holders = await holdersFor(listener, context, volume, deadline);
      return keepReleasing(context, volume, kept(plan.kind === 'covered' ? 'busy' : 'releasing', holders));
    }
    if (plan.kind === 'gone') {
      const cleared = await clearAway(context, volume, { ...observation, steps: plan.steps }, deadline, listener);
      if (cleared !== null) return cleared;
      continue;
    }
    const ended = await carryOut(context, 'release', volume, plan.steps, deadline, releasing(context, volume));
    if (ended.end === 'unknown') await outlast(context, volume, ended, listener);
    if (ended.end !== 'refused') continue;
    checkTried(ended.error);
    const obstructed = await afterRefusal(context, volume, ended.error.code === 'busy', deadline, listener);
    if (obstructed !== null) return keepReleasing(context, volume, obstructed);
  }
  return keepReleasing(context, volume, kept('busy'));
}

function isBack({ leaf }: Volume): FairleadError {
  return new FairleadError('unavailable', 'The mount is there again while it is forgotten. It is looked at again.', {
    leaf,
  });
}

/**
 * Nothing of ours is mounted: carries out `steps`, which remove the leaf, and forgets it, unless a client of it has not
 * ended yet. Null: look again.
 */
async function clearAway(
  context: Context,
  volume: Volume,
  { steps, former }: Pick<Observation, 'former'> & { readonly steps: readonly Step[] },
  deadline: Deadline,
  listener: Listener,
): Promise<ReleaseEnd | null> {
  const ended = await carryOut(context, 'release', volume, steps, deadline);
  if (ended.end === 'unknown') {
    await outlast(context, volume, ended, listener);
    return null;
  }
  if (ended.end === 'refused') {
    checkTried(ended.error);
    // Somebody has a copy of the mount on that directory. Any other directory that will not go is not what keeps a mount.
    if (ended.error.code === 'busy') return keepReleasing(context, volume, kept('releasing'));
  }
  if (former.length === 0) return forget(context, volume);
  return keepReleasing(context, volume, { outcome: 'released', isEnding: true, holders: [] });
}

/** Throws a refusal that says nothing about the mount, since nothing was tried. */
function checkTried(refusal: ErrorBody): void {
  if (NOT_TRIED.has(refusal.code)) throw errorFromBody(refusal);
}

/** A refused unmount: find out why. Null: look again, the world has changed. */
async function afterRefusal(
  context: Context,
  volume: Volume,
  wasBusy: boolean,
  deadline: Deadline,
  listener: Listener,
): Promise<ReleaseEnd | null> {
  const observation = await context.observe(volume, 'read-only', deadline.remaining);
  if (!mayBeMounted(observation)) return null;
  const deadSteps = planDead(observation);
  if (deadSteps !== null) return detachDead(context, volume, deadSteps, deadline, listener);
  if (observation.judgement?.verdict === 'hung') return kept('hung');
  return kept('busy', wasBusy ? await holdersFor(listener, context, volume, deadline) : []);
}

/** Who keeps the mount. Looked for only where somebody is told, since the search looks at the mount too; else who was found last. */
async function holdersFor(
  listener: Listener,
  context: Context,
  volume: Volume,
  deadline: Deadline,
): Promise<readonly Holder[]> {
  return listener === NOBODY
    ? context.state.sightOf(volume.leaf).keptBy
    : context.holdersOf(volume, deadline.remaining);
}

async function detachDead(
  context: Context,
  volume: Volume,
  steps: readonly Step[],
  deadline: Deadline,
  listener: Listener,
): Promise<ReleaseEnd | null> {
  const ended = await carryOut(context, 'release', volume, steps, deadline);
  if (ended.end === 'unknown') await outlast(context, volume, ended, listener);
  return ended.end === 'refused' && ended.step.kind === 'detach-dead' ? kept('busy') : null;
}

/** Waits until the unknown step is over; whoever waits for the answer hears what is known now if that is that it hangs. */
async function outlast(
  context: Context,
  volume: Volume,
  ended: Exclude<StepsEnd, { end: 'done' }>,
  listener: Listener,
): Promise<void> {
  const error = errorFromBody(ended.error);
  // A reply that did not come in time says nothing about the mount.
  if (error.code === 'hung') listener.answer(kept('hung'));
  else listener.failing(error);
  await settle(context, volume);
}

function releasing(context: Context, volume: Volume): readonly Change[] {
  const { bootId } = context.ports.settings;
  return [{ kind: 'put-mount', mount: { volume, state: 'releasing', bootId } }];
}

async function forget(context: Context, volume: Volume): Promise<ReleaseEnd> {
  const { leaf } = volume;
  context.ports.reach('release.verified');
  await context.commit([
    { kind: 'forget-mount', leaf },
    ...(context.state.holds.has(leaf) ? [{ kind: 'lift-hold', leaf } as const] : []),
    ...closing(context, volume),
  ]);
  context.ports.reach('release.closed');
  return { outcome: 'released', isEnding: false, holders: [] };
}

async function keepReleasing(context: Context, volume: Volume, end: ReleaseEnd): Promise<ReleaseEnd> {
  await context.commit([...releasing(context, volume), ...closing(context, volume)]);
  context.state.sightOf(volume.leaf).keptBy = end.holders;
  return end;
}
