// What the tests of parsers share: a refusal must be a FairleadError that names its field.

import { expect } from 'vitest';
import { FairleadError } from '../src/core/errors.js';

/** The `invalid-argument` that `act` throws; the test fails if it throws anything else or nothing. */
export function refusalOf(act: () => unknown): FairleadError {
  let thrown: unknown;
  try {
    act();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(FairleadError);
  const refusal = thrown as FairleadError;
  expect(refusal.code).toBe('invalid-argument');
  expect(refusal.field).toBeTruthy();
  expect(refusal.message).toContain(refusal.field);
  return refusal;
}
