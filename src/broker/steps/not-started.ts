// Why a helper was never started, as an error. Nothing has happened then.

import { namesOf, redact } from '../../core/secrets.js';
import type { StepEnd } from '../../core/steps.js';
import type { HelperEnd } from '../../sys/ports.js';
import type { Context } from '../context.js';
import { noProcess } from '../no-process.js';
import type { Place } from '../place.js';
import { refused } from '../step-ends.js';

/** The refusal that a helper which was not started means. */
export function notStarted(
  context: Context,
  place: Place,
  { why, detail }: Extract<HelperEnd, { end: 'not-started' }>,
): StepEnd {
  switch (why) {
    // What was found wrong with the file names no volume, and says what to do.
    case 'missing':
    case 'untrusted':
    case 'not-executable':
      return refused(place, 'helper-untrusted', `The helper cannot be used: ${redact(detail, namesOf(place.volume))}`);
    case 'name-in-use':
      return refused(place, 'stuck', 'A helper of this volume is still there. It is worked off; try again.');
    case 'not-ready':
      return refused(place, 'unavailable', 'systemd is starting up or shutting down. Try again when it runs.');
    case 'limit':
      return refused(place, 'resource-exhausted', noProcess(context.machine));
    case 'failed':
      return refused(place, 'helper-failed', 'The helper could not be started. Run `fairlead doctor`.', {
        helperOutput: context.helperOutputs.keep(place, detail),
      });
  }
}
