// `abort`: the way out for a FUSE mount that hangs. The connection to its server is cut, whoever waits for it gets an error, and the mount is
// dead. Only what hangs now, by a probe of this request's own, is aborted, and only a mount that a helper of ours makes: a directory that
// was bound has the connection of somebody else's filesystem.

import { FairleadError, type ErrorCode } from '../../core/errors.js';
import { LOOK_FIRST_MS, LOOK_LAST_MS } from '../../core/limits.js';
import type { Judgement } from '../../core/verdict.js';
import type { Context } from '../context.js';
import { type Deadline, LATE, until, within } from '../../core/deadline.js';
import { type Place, placeOf } from '../place.js';
import { requireRecognised } from '../policy.js';
import { look } from '../sight.js';
import type { Handler } from './handler.js';

/** See the file's head. Answers with what a probe says afterwards. */
export const abort: Handler<'abort'> = async ({ context, deadline }, request) => {
  const place = placeOf(context, request.volume);
  const { leaf } = place.volume;
  if (place.identifiedBy !== null) throw refusal(place, 'invalid-argument', NO_CONNECTION);
  const mount = requireRecognised(place, await look(context, place, deadline));
  if (mount === null) throw refusal(place, 'not-found', 'The volume is not mounted.');
  const { dev } = mount.entry;
  const { verdict } = await judge(context, place, dev, deadline);
  if (verdict !== 'hung') {
    throw refusal(place, 'conflict', `The mount does not hang: it is ${verdict}. Only what hangs is aborted.`);
  }
  if (context.machine.mounts.abort(place.base, leaf, dev) !== 'aborted') {
    throw refusal(place, 'unavailable', 'The mount changed while it was looked at. Try again.');
  }
  context.log.warn('connection-aborted', { leaf });
  const pauses = { first: LOOK_FIRST_MS, last: LOOK_LAST_MS };
  const dead = await until(context.machine.clock, deadline.remaining, pauses, async () => {
    const judgement = await judge(context, place, dev, deadline);
    return judgement.dead ? judgement : null;
  });
  if (dead === null) {
    throw refusal(
      place,
      'hung',
      'The connection was aborted, and the mount still does not answer. Look at the kernel log.',
    );
  }
  return dead;
};

const NO_CONNECTION = 'This mount has no FUSE connection of its own, so there is nothing to abort.';

async function judge(context: Context, place: Place, dev: string, deadline: Deadline): Promise<Judgement> {
  const probing = context.prober.probe(place.target(dev), 'read-only');
  const facts = await within(context.machine.clock, probing, deadline.remaining);
  if (facts === LATE)
    throw refusal(place, 'deadline-exceeded', 'The time was up before the mount had been judged. Try again.');
  return place.judge(facts, 'read-only');
}

function refusal(place: Place, code: ErrorCode, message: string): FairleadError {
  return new FairleadError(code, message, { leaf: place.volume.leaf });
}
