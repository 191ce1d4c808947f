// Carries out a list of steps: each is journaled as begun before the broker is asked, so that a crash at any instruction
// leaves a journal that says what may have happened.

import type { ErrorBody } from '../core/errors.js';
import type { Change, OperationId, OperationRecord } from '../core/records.js';
import type { Step } from '../core/steps.js';
import type { Volume } from '../core/volume.js';
import type { Context } from './context.js';
import type { Deadline } from './deadline.js';

/** How a list of steps ended. `refused` and `unknown` tell at which step, and why; the steps after it were not begun. */
export type StepsEnd =
  /** `foundMounted`: the mount step found the right volume there, made by somebody else since it was looked at. */
  | { readonly end: 'done'; readonly foundMounted: boolean }
  | { readonly end: 'refused' | 'unknown'; readonly step: Step; readonly error: ErrorBody };

/** An operation's identity is its leaf's: there is at most one open operation a leaf. */
function operationIdOf(volume: Volume): OperationId {
  return volume.leaf as string as OperationId;
}

/**
 * Runs `steps` in order. `opening` are the changes that go into the same commit as the journal's first entry. The caller
 * holds the leaf's lock, and closes the operation. Rejects only when the journal cannot be written: then the step at
 * hand was not begun.
 */
export async function carryOut(
  context: Context,
  kind: OperationRecord['kind'],
  volume: Volume,
  steps: readonly Step[],
  deadline: Deadline,
  opening: readonly Change[] = [],
): Promise<StepsEnd> {
  const { broker, clock, reach, log } = context.ports;
  context.looks.forget(volume.leaf);
  const sight = context.state.sightOf(volume.leaf);
  const { since, ...earlier } = context.state.operations.get(volume.leaf) ?? { mountBegun: false, since: clock.date() };
  let { mountBegun } = earlier;
  let foundMounted = false;
  for (const [cursor, step] of steps.entries()) {
    mountBegun ||= step.kind === 'mount';
    const operation: OperationRecord = { id: operationIdOf(volume), kind, volume, steps, cursor, mountBegun, since };
    await context.commit([...(cursor === 0 ? opening : []), { kind: 'put-operation', operation }]);
    if (cursor === 0 && kind !== 'release') reach(`${kind}.journaled`);
    sight.step = step.kind;
    reach(`step.${step.kind}.before`);
    const ended = await broker.step(volume, step.kind, deadline.remaining);
    reach(`step.${step.kind}.after`);
    sight.step = null;
    log.info('step', { leaf: volume.leaf, operation: kind, step: step.kind, end: ended.end });
    if (ended.end !== 'done') return { end: ended.end, step, error: ended.error };
    if (step.kind === 'mount' && !ended.changed) {
      // Somebody else was quicker, so it is not ours to take away again; the next journal entry says so.
      foundMounted = true;
      mountBegun = earlier.mountBegun;
    }
  }
  return { end: 'done', foundMounted };
}

/** The change that closes the leaf's open operation, if there is one. */
export function closing(context: Context, volume: Volume): readonly Change[] {
  return context.state.operations.has(volume.leaf) ? [{ kind: 'close-operation', id: operationIdOf(volume) }] : [];
}
