// What every executor of a step is given and must keep to.

import type { StepEnd } from '../../core/steps.js';
import type { Context } from '../context.js';
import type { Deadline } from '../../core/deadline.js';
import type { Place } from '../place.js';

/** One step at work. Its leaf is locked within the broker. */
export interface Attempt {
  readonly context: Context;
  readonly place: Place;
  readonly deadline: Deadline;
  /** Called before the first effect: a failure that nobody foresaw is `unknown` from then on, and `refused` before. */
  readonly begin: () => void;
}

/**
 * Carries out one kind of step. It may throw a FairleadError before {@link Attempt.begin}; whatever it throws later ends
 * the step as `unknown`.
 */
export type Executor = (attempt: Attempt) => Promise<StepEnd>;
