// Lets a mount go that nobody uses any more. What cannot be unmounted now is `releasing`: shown, tried again with backoff,
// cancelled by a new connect. The caller always holds the leaf's lock.

import { errorFromBody } from '../core/errors.js';
import { RETRY_FIRST_MS, RETRY_LAST_MS } from '../core/limits.js';
import { planDead, planRelease } from '../core/plan.js';
import type { Holder, Observation } from '../core/observation.js';
import type { Change } from '../core/records.js';
import type { Outcome } from '../core/requests.js';
import type { Step } from '../core/steps.js';
import type { Leaf, Volume } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import type { Exchange } from './exchange.js';
import { carryOut, operationIdOf, type StepsEnd } from './execute.js';
import { settle } from './settle.js';

/** Milliseconds for one release that no request waits for. */
const BACKGROUND_RELEASE_MS = 30_000;
/** How often a release is planned anew because the world changed under it. */
const MAX_PLANS = 4;

/** What became of the mount. `kept`: it is used, or was never ours to take away. */
export interface ReleaseEnd {
  readonly outcome: Extract<Outcome, 'released' | 'busy' | 'hung'> | 'kept';
  readonly holders: readonly Holder[];
}

/** Whoever waits for the answer: told the truth so far when a step may still act and the answer must not wait for its end. */
export type Listener = Pick<Exchange<ReleaseEnd>, 'answer' | 'failing'>;

/** Nobody waits for the answer. */
export const NOBODY: Listener = { answer: () => undefined, failing: () => undefined };

/**
 * Lets the leaf go if nobody uses it and its mount is our making; closes its open operation either way. This is how a
 * failed connect is undone and how a release is rolled forward.
 */
export async function letGo(
  context: Context,
  volume: Volume,
  deadline: Deadline,
  listener: Listener,
): Promise<ReleaseEnd> {
  const { leaf } = volume;
  const kept: ReleaseEnd = { outcome: 'kept', holders: [] };
  if (context.state.isUsed(leaf)) {
    await context.commit(closing(context, volume));
    return kept;
  }
  const operation = context.state.operations.get(leaf);
  const ours = operation === undefined || operation.mountBegun || operation.kind === 'release';
  if (ours) return release(context, volume, deadline, listener);
  const observation = await context.observe(volume, null, deadline.remaining);
  if (!isMounted(observation)) return release(context, volume, deadline, listener);
  const forgotten: readonly Change[] =
    context.state.mounts.get(leaf)?.state === 'mounting' ? [{ kind: 'forget-mount', leaf }] : [];
  await context.commit([...forgotten, ...closing(context, volume)]);
  return kept;
}

/**
 * Unmounts, verifies, records, whoever made the mount. Resolves with what is true of the mount then.
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
    if (plan.kind === 'covered') return keepReleasing(context, volume, { outcome: 'busy', holders: [] });
    if (plan.steps.length === 0) return forget(context, volume);
    const ended = await carryOut(context, 'release', volume, plan.steps, deadline, releasing(context, volume));
    if (ended.end === 'unknown') {
      await outlast(context, volume, ended, listener);
      continue;
    }
    if (plan.kind === 'gone') return forget(context, volume);
    if (ended.end === 'refused') {
      const obstructed = await afterRefusal(context, volume, ended.error.code === 'busy', deadline, listener);
      if (obstructed !== null) return keepReleasing(context, volume, obstructed);
    }
  }
  return keepReleasing(context, volume, { outcome: 'busy', holders: [] });
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
  if (!isMounted(observation)) return null;
  const deadSteps = planDead(observation);
  if (deadSteps !== null) return detachDead(context, volume, deadSteps, deadline, listener);
  if (observation.judgement?.verdict === 'hung') return { outcome: 'hung', holders: [] };
  const holders = wasBusy ? await context.ports.broker.holders(volume, deadline.remaining) : [];
  return { outcome: 'busy', holders };
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
  return ended.end === 'refused' && ended.step.kind === 'detach-dead' ? { outcome: 'busy', holders: [] } : null;
}

/** Waits until the unknown step is over; whoever waits for the answer hears what is known now if that is that it hangs. */
async function outlast(
  context: Context,
  volume: Volume,
  ended: Exclude<StepsEnd, { end: 'done' }>,
  listener: Listener,
): Promise<void> {
  const error = errorFromBody(ended.error);
  if (error.code === 'hung' || error.code === 'deadline-exceeded') listener.answer({ outcome: 'hung', holders: [] });
  else listener.failing(error);
  await settle(context, volume);
}

function isMounted(observation: Observation): boolean {
  return observation.mounts.some((mount) => mount.recognised);
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
  return { outcome: 'released', holders: [] };
}

async function keepReleasing(context: Context, volume: Volume, end: ReleaseEnd): Promise<ReleaseEnd> {
  await context.commit([...releasing(context, volume), ...closing(context, volume)]);
  return end;
}

/** The change that closes the leaf's open operation, if there is one. */
export function closing(context: Context, volume: Volume): readonly Change[] {
  return context.state.operations.has(volume.leaf) ? [{ kind: 'close-operation', id: operationIdOf(volume) }] : [];
}

/** Works off releasing mounts in the background, one task a leaf at most. */
export class Releaser {
  readonly #context: Context;
  readonly #tasks = new Set<Leaf>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Sees to it that the mount goes away as soon as it can. Does nothing if that is already under way. */
  schedule(volume: Volume): void {
    const { leaf } = volume;
    if (this.#tasks.has(leaf)) return;
    this.#tasks.add(leaf);
    void this.#work(volume).finally(() => this.#tasks.delete(leaf));
  }

  async #work(volume: Volume): Promise<void> {
    const { clock } = this.#context.ports;
    const stopping = this.#context.stopping.signal;
    for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_LAST_MS)) {
      await clock.sleep(pause, stopping);
      if (stopping.aborted || (await this.#attempt(volume))) return;
    }
  }

  /** True when there is nothing left to do. */
  async #attempt(volume: Volume): Promise<boolean> {
    const context = this.#context;
    const { leaf } = volume;
    const unlock = await context.locks.acquire(leaf);
    try {
      if (context.stopping.signal.aborted) return true;
      const { state } = context;
      const open = state.operations.has(leaf) || state.mounts.get(leaf)?.state === 'releasing';
      if (!open || state.isUsed(leaf)) return true;
      const deadline = new Deadline(context.ports.clock, BACKGROUND_RELEASE_MS);
      const end = await context.track(letGo(context, volume, deadline, NOBODY));
      context.ports.log.info('release-retried', { leaf, outcome: end.outcome });
      return end.outcome === 'released' || end.outcome === 'kept';
    } catch (error) {
      context.ports.log.warn('release-failed', { leaf, error });
      return false;
    } finally {
      unlock();
    }
  }
}
