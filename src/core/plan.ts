// Plans: pure functions from what is wanted, what was observed and what is recorded to a list of steps, or a refusal.
// A plan is made from a fresh observation under the volume's lock; after its steps the world is observed again and the
// same function must answer `ready`. Nothing here knows how a step is carried out.

import { FairleadError } from './errors.js';
import { mayBeMounted, type Observation, type ObservedMount } from './observation.js';
import { obstructionAt } from './obstruction.js';
import type { Step, StepKind } from './steps.js';
import type { Access, Judgement } from './verdict.js';

/** What a connect needs done before the volume can be attached. */
export type ConnectPlan =
  /** The right volume is mounted, hardened, alive and usable. */
  | { readonly kind: 'ready' }
  /** Nothing is mounted, or only the hardening is missing. */
  | { readonly kind: 'connect'; readonly steps: readonly Step[] }
  /** The right volume is mounted and proven dead: replace it, its attachments stay. */
  | { readonly kind: 'recover'; readonly steps: readonly Step[] }
  /** Not possible now; the error says why and what to do. */
  | { readonly kind: 'refuse'; readonly error: FairleadError };

/** What must be done to let a mount go. */
export type ReleasePlan =
  | { readonly kind: 'gone'; readonly steps: readonly Step[] }
  | { readonly kind: 'unmount'; readonly steps: readonly Step[] }
  /** Our mount lies, or may lie, under somebody else's: it cannot be unmounted before that is gone. */
  | { readonly kind: 'covered' }
  /** The leaf is free, and a client of it still serves somebody elsewhere. */
  | { readonly kind: 'serving' };

const steps = (...kinds: readonly StepKind[]): readonly Step[] => kinds.map((kind) => ({ kind }));

/** The mount that a path walk arrives at, if any. */
export function topmost(observation: Observation): ObservedMount | undefined {
  return observation.mounts.at(-1);
}

/** What a connect has to do. The observation must carry a judgement when something recognised is mounted. */
export function planConnect(observation: Observation, access: Access): ConnectPlan {
  const top = topmost(observation);
  if (top === undefined) return planFromNothing(observation);
  if (!top.recognised) {
    return refuse(
      'foreign',
      observation,
      'Another filesystem is mounted at this leaf. Unmount it, then connect again.',
    );
  }
  const judgement = observation.judgement;
  if (judgement === undefined) {
    return refuse('unavailable', observation, 'The mount could not be probed in time. Try again.');
  }
  if (judgement.dead) {
    // What lies below is looked at before anything is mounted on top of it.
    const below = observation.mounts.length > 1;
    return { kind: 'recover', steps: below ? steps('detach-dead') : steps('detach-dead', 'mount', 'harden') };
  }
  const unusable = refusalOf(judgement, observation, access);
  if (unusable !== null) return { kind: 'refuse', error: unusable };
  // Mounted, and its helper is still at work: if that never ends, systemd ends the daemon with it. The mount step waits.
  if (observation.unit === 'starting') return { kind: 'connect', steps: steps('mount', 'harden') };
  return top.hardened ? { kind: 'ready' } : { kind: 'connect', steps: steps('harden') };
}

function planFromNothing(observation: Observation): ConnectPlan {
  const obstruction = obstructionAt(observation.directory);
  if (obstruction !== null) return refuse('foreign', observation, obstruction);
  switch (observation.directory) {
    case 'absent':
      return { kind: 'connect', steps: steps('make-leaf', 'mount', 'harden') };
    case 'empty':
      return { kind: 'connect', steps: steps('mount', 'harden') };
    default:
      // The mount came or went between two looks.
      return refuse('unavailable', observation, 'The mount table changed while it was read. Try again.');
  }
}

/** The error that a verdict means for somebody who wants to use the volume; null when it is usable. */
export function refusalOf(judgement: Judgement, observation: Observation, access: Access): FairleadError | null {
  const leaf = observation.leaf;
  switch (judgement.verdict) {
    case 'healthy':
      return null;
    case 'read-only':
      if (access === 'read-only') return null;
      return new FairleadError(
        'unhealthy',
        `${judgement.reason} Connect with --read-only, or make the volume writable.`,
        { leaf },
      );
    case 'denied':
      return new FairleadError('unhealthy', `${judgement.reason} Grant the rights on the volume, then connect again.`, {
        leaf,
      });
    case 'stale':
      return new FairleadError(
        'unhealthy',
        `${judgement.reason} ${judgement.advice ?? 'Look at the storage service, then connect again.'}`,
        { leaf },
      );
    case 'hung':
      return new FairleadError(
        'hung',
        `${judgement.reason} Look at the storage service and the network, then try again.`,
        { leaf },
      );
    case 'foreign':
      return new FairleadError('foreign', judgement.reason, { leaf });
    case 'absent':
      return new FairleadError(
        'unhealthy',
        'The volume is not mounted although its helper reported success. Try again.',
        { leaf },
      );
  }
}

function refuse(code: 'foreign' | 'unavailable', observation: Observation, message: string): ConnectPlan {
  return { kind: 'refuse', error: new FairleadError(code, message, { leaf: observation.leaf }) };
}

/** What a release has to do. Never asks for a lazy detach: that needs a proof of death first ({@link planDead}). */
export function planRelease(observation: Observation): ReleasePlan {
  const top = topmost(observation);
  if (top?.recognised === true) {
    return {
      kind: 'unmount',
      steps: observation.mounts.length > 1 ? steps('unmount') : steps('unmount', 'remove-leaf'),
    };
  }
  if (mayBeMounted(observation)) return { kind: 'covered' };
  if (isServed(observation)) return { kind: 'serving' };
  return { kind: 'gone', steps: observation.directory === 'empty' ? steps('remove-leaf') : [] };
}

/** Whether a client whose mount is not at the leaf any more may still serve somebody. */
export function isServed({ former }: Observation): boolean {
  return former.some(({ state }) => state === 'serving');
}

/** How to take away a mount that a plain unmount could not: only when it is proven dead, by its connection being gone. */
export function planDead(observation: Observation): readonly Step[] | null {
  const { judgement } = observation;
  const dead = topmost(observation)?.recognised === true && judgement?.dead === true && judgement.errno === 'ENOTCONN';
  return dead ? steps('detach-dead', 'remove-leaf') : null;
}
