// `step` and `settle`: the effects. One at a time on a leaf, whoever asks; the lock is kept until the work is over, not
// until its caller has gone.

import { errorBody, FairleadError } from '../../core/errors.js';
import type { StepEnd, StepKind } from '../../core/steps.js';
import { LATE, within } from '../../core/deadline.js';
import { type Place, placeOf } from '../place.js';
import { adoptUnits } from '../client-states.js';
import { makeQuiet } from '../quiet.js';
import { refused, unknown } from '../step-ends.js';
import { EXECUTORS } from '../steps/executors.js';
import type { Call, Handler } from './handler.js';

/** Steps after which another mount may be at the leaf, or none. */
const MOUNTING: readonly StepKind[] = ['mount', 'unmount', 'detach-dead'];

/** Carries out one step. It never throws once its place is known: its end says what is true. */
export const step: Handler<'step'> = async (call, request) => {
  const { context, deadline } = call;
  const { clock } = context.machine;
  const place = placeOf(context, request.volume);
  const unlock = await context.locks.take(place.mountpoint, deadline.remaining);
  if (unlock === null) {
    return refused(place, 'stuck', 'An earlier operation on this volume is not over yet. It is worked off; try again.');
  }
  let state: 'waiting' | 'begun' | 'given-up' = 'waiting';
  const begin = (): void => {
    if (state === 'given-up') throw late(place);
    state = 'begun';
  };
  const work = async (): Promise<StepEnd> => {
    try {
      await adoptUnits(context, deadline);
      return await EXECUTORS[request.kind]({ context, place, deadline, begin });
    } catch (error) {
      return endOf(call, place, error, state);
    } finally {
      if (state === 'begun' && MOUNTING.includes(request.kind)) context.leafWatch.acted(context, place.volume);
      unlock();
    }
  };
  const end = await within(clock, work(), deadline.remaining);
  if (end !== LATE) return end;
  if ((state as string) === 'begun') {
    return unknown(place, 'deadline-exceeded', 'The step was not over in time and may still act. It is worked off.');
  }
  state = 'given-up';
  return { end: 'refused', error: errorBody(late(place)) };
};

function endOf({ context }: Call, place: Place, error: unknown, state: 'waiting' | 'begun' | 'given-up'): StepEnd {
  if (!(error instanceof FairleadError)) {
    context.log.warn('step-failed', { leaf: place.volume.leaf, error });
  }
  return { end: state === 'begun' ? 'unknown' : 'refused', error: errorBody(error) };
}

function late(place: Place): FairleadError {
  return new FairleadError('deadline-exceeded', 'The time was up before the step could begin. Try again.', {
    leaf: place.volume.leaf,
  });
}

/** Ends whatever may still act on the leaf. */
export const settle: Handler<'settle'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  const unlock = await context.locks.take(place.mountpoint, deadline.remaining);
  if (unlock === null) return 'acting';
  try {
    await adoptUnits(context, deadline);
    return (await makeQuiet(context, place, deadline)) === 'quiet' ? 'settled' : 'acting';
  } finally {
    unlock();
  }
};
