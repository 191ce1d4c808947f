// What to do with a leaf that was left unfinished, by a crash or by a failure, decided from the ledger's records and one fresh observation. Pure.
// Rule of the house: what was answered with success stays; what was never answered is undone if its journal shows that
// we made it; what was being taken away goes on being taken away; what nobody recorded is kept, with a hold.

import { isServed, topmost } from './plan.js';
import { mayBeMounted, type Observation } from './observation.js';
import type { MountRecord, OperationRecord } from './records.js';

/** Everything that bears on one leaf. */
export interface Remains {
  readonly record: MountRecord | undefined;
  readonly operation: OperationRecord | undefined;
  readonly attachments: number;
  readonly held: boolean;
  readonly observation: Observation;
  /** The boot that is running now. */
  readonly bootId: string;
  readonly onVanish: 'report' | 'remount';
}

/** What to do about them. */
export type Remedy =
  /** In order: only close what is open. */
  | 'keep'
  /** It has users and is not mounted, or its mount is dead or not hardened yet: bring it back; attachments stay. */
  | 'restore'
  /** Users, but somebody else took the mount away, and the policy is to say so and wait for a connect. */
  | 'report-vanished'
  /** Nobody uses it and we made it, or its release was under way: take it away. */
  | 'release'
  /** Nobody uses it as far as we know, but it was not us who made it: keep it, with a hold. */
  | 'hold'
  /** Nobody uses it and no mount of it is left: forget the record. */
  | 'forget';

/**
 * Decides. The observation carries a judgement if something recognised is mounted and the leaf is used. `release` is said
 * only of what nobody uses, and of a mount only when the records of this very boot say that we made it or were taking it
 * away: what we made before a reboot did not survive it, so what is mounted now is somebody else's.
 */
export function remedyFor(remains: Remains): Remedy {
  const { record, operation, attachments, held, observation } = remains;
  const mounted = mayBeMounted(observation);
  if (attachments > 0 || held) return mounted ? remedyForUsed(remains) : remedyForMissing(remains);
  if (!mounted) return record === undefined && operation === undefined ? 'forget' : 'release';
  if (record?.bootId !== remains.bootId) return 'hold';
  if (record.state === 'releasing' || operation?.kind === 'release' || operation?.mountBegun === true) return 'release';
  return record.state === 'mounted' && operation === undefined ? 'release' : 'hold';
}

function remedyForUsed(remains: Remains): Remedy {
  const top = topmost(remains.observation);
  if (top?.recognised !== true) return 'keep';
  const unfinished = hasBegun(remains) && !top.hardened;
  return remains.observation.judgement?.dead === true || unfinished ? 'restore' : 'keep';
}

function remedyForMissing(remains: Remains): Remedy {
  // A hold is given up when nothing of its mount is left: what is out of sight may be used as before.
  if (remains.attachments === 0) return isServed(remains.observation) ? 'keep' : 'forget';
  const rebooted = remains.record?.bootId !== remains.bootId;
  return hasBegun(remains) || rebooted || remains.onVanish === 'remount' ? 'restore' : 'report-vanished';
}

/** Whether we were at work to make the mount usable: then it is not for somebody else to explain how it is now. */
function hasBegun({ operation }: Remains): boolean {
  return operation?.kind === 'recover' || operation?.kind === 'connect';
}
