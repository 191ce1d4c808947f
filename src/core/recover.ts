// What to do with a leaf after a crash or a restart, decided from the ledger's records and one fresh observation. Pure.
// Rule of the house: what was answered with success stays; what was never answered is undone if its journal shows that
// we made it; what was being taken away goes on being taken away; what nobody recorded is kept, with a hold.

import { topmost } from './plan.js';
import type { Observation } from './observation.js';
import type { MountRecord, OperationRecord } from './records.js';

/** Everything that bears on one leaf at start. */
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
  /** It has users and is not mounted, or its mount is dead: mount it (again); attachments stay. */
  | 'restore'
  /** Users, but somebody else took the mount away, and the policy is to say so and wait for a connect. */
  | 'report-vanished'
  /** Nobody uses it and we made it, or its release was under way: take it away. */
  | 'release'
  /** Nobody uses it as far as we know, but it was not us who made it: keep it, with a hold. */
  | 'hold'
  /** Nobody uses it and nothing of it is left: forget the record. */
  | 'forget';

/** Decides. The observation carries a judgement if something recognised is mounted. */
export function remedyFor(remains: Remains): Remedy {
  const { record, operation, attachments, held, observation, bootId } = remains;
  const top = topmost(observation);
  const mounted = observation.mounts.some((mount) => mount.recognised);
  if (attachments > 0 || held) {
    if (top?.recognised === true) return observation.judgement?.dead === true ? 'restore' : 'keep';
    if (mounted) return 'keep';
    if (attachments === 0) return 'forget';
    const ourOwnDoing = operation?.kind === 'recover' || operation?.kind === 'connect';
    if (ourOwnDoing || record?.bootId !== bootId || remains.onVanish === 'remount') return 'restore';
    return 'report-vanished';
  }
  if (record?.state === 'releasing' || operation?.kind === 'release') return 'release';
  if (operation !== undefined) {
    if (!mounted || operation.mountBegun) return 'release';
    return 'hold';
  }
  if (mounted) return record === undefined ? 'hold' : 'release';
  return 'forget';
}
