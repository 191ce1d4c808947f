// The three ways a step may end, made in one place, so that an error of a step always names its leaf.

import { errorBody, FairleadError, type ErrorCode, type ErrorDetails } from '../core/errors.js';
import type { StepEnd } from '../core/steps.js';
import type { Place } from './place.js';

/** The effect is in the world and this step made it. */
export const CHANGED: StepEnd = { end: 'done', changed: true };
/** The effect was in the world already. */
export const UNCHANGED: StepEnd = { end: 'done', changed: false };

/** Not begun, or known to have had no effect. */
export function refused(
  place: Place,
  code: ErrorCode,
  message: string,
  details: Omit<ErrorDetails, 'leaf'> = {},
): StepEnd {
  return { end: 'refused', error: bodyOf(place, code, message, details) };
}

/** Nobody knows: observe before anything else happens at this leaf. */
export function unknown(
  place: Place,
  code: ErrorCode,
  message: string,
  details: Omit<ErrorDetails, 'leaf'> = {},
): StepEnd {
  return { end: 'unknown', error: bodyOf(place, code, message, details) };
}

function bodyOf(
  place: Place,
  code: ErrorCode,
  message: string,
  details: Omit<ErrorDetails, 'leaf'>,
): ReturnType<typeof errorBody> {
  return errorBody(new FairleadError(code, message, { ...details, leaf: place.volume.leaf }));
}
