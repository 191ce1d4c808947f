// Why a helper was never started, as an error. Nothing has happened then.

import { namesOf, redact } from '../../core/secrets.js';
import type { StepEnd } from '../../core/steps.js';
import type { HelperEnd } from '../../sys/ports.js';
import type { Place } from '../place.js';
import { refused } from '../step-ends.js';

/** The refusal that a helper which was not started means. */
export function notStarted(place: Place, { why, detail }: Extract<HelperEnd, { end: 'not-started' }>): StepEnd {
  switch (why) {
    case 'missing':
      return refused(place, 'helper-untrusted', 'The helper does not exist. Install the client, or name its path.');
    case 'untrusted':
      return refused(
        place,
        'helper-untrusted',
        'The helper is not trusted: it must lie in trusted_helper_dirs, belong to root and be writable by nobody else.',
      );
    case 'not-executable':
      return refused(place, 'helper-untrusted', 'The helper cannot be executed. Install the client again.');
    case 'name-in-use':
      return refused(place, 'stuck', 'A helper of this volume is still there. It is worked off; try again.');
    case 'not-ready':
      return refused(place, 'unavailable', 'systemd is starting up or shutting down. Try again when it runs.');
    case 'failed':
      return refused(place, 'helper-failed', 'The helper could not be started. Run `fairlead doctor`.', {
        helperOutput: redact(detail, [...namesOf(place.volume), place.mountpoint]),
      });
  }
}
