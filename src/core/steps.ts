// Steps: the effects an operation may have, as data. The same list is planned, journaled, executed, logged, shown by
// --dry-run and replayed by recovery, so a step says what it does and holds nothing that cannot be written down.

import type { ErrorBody } from './errors.js';

/**
 * - `make-leaf`: create the leaf directory, 0700, owned by root. Done already when an empty directory is there.
 * - `mount`: start the mount helper (or bind, for a local volume) and wait until the mount is seen in the table.
 * - `harden`: set nosuid, nodev, noexec, nosymfollow and see them in the table.
 * - `unmount`: umount2 with UMOUNT_NOFOLLOW, topmost mount of the leaf, only if it is recognised.
 * - `detach-dead`: takes a mount away from under its users, only after the broker itself has proven it dead a moment ago:
 *   by MNT_DETACH if its connection is gone (ENOTCONN), by a plain umount2 if its server disowns it (ESTALE).
 * - `remove-leaf`: rmdir of the empty leaf.
 */
export const STEP_KINDS = ['make-leaf', 'mount', 'harden', 'unmount', 'detach-dead', 'remove-leaf'] as const;
/** See {@link STEP_KINDS}. */
export type StepKind = (typeof STEP_KINDS)[number];

/** One effect on one leaf; the volume is the operation's. */
export interface Step {
  readonly kind: StepKind;
}

/**
 * How a step ended. `done`: the effect is in the world (`changed` tells if this step made it). `refused`: it was not
 * begun, or was begun and is known to have had no effect. `unknown`: nobody knows; the world must be observed before
 * anything else happens at this leaf.
 */
export type StepEnd =
  | { readonly end: 'done'; readonly changed: boolean }
  | { readonly end: 'refused'; readonly error: ErrorBody }
  | { readonly end: 'unknown'; readonly error: ErrorBody };
