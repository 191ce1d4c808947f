// What every handler of a verb is given and must keep to.

import { FairleadError } from '../../core/errors.js';
import type { Call as CallWith } from '../../link/session.js';
import type { Context } from '../context.js';
import type { RequestOf, ResultOf, VerbName } from '../protocol.js';

/** One request at work. */
export type Call = CallWith<Context>;

/**
 * Carries out one verb. The request has passed its schema and nothing more. Throws FairleadErrors; anything else it throws
 * becomes `internal`.
 */
export type Handler<V extends VerbName> = (call: Call, request: RequestOf<V>) => Promise<ResultOf<V>>;

/** Does the work while no other request works on `key`: a domain's UUID, or a disk's path. */
export async function alone<T>({ context, deadline }: Call, key: string, work: () => Promise<T>): Promise<T> {
  const unlock = await context.locks.take(key, deadline.remaining);
  if (unlock === null) {
    const message = 'An earlier request for the same domain or disk is not over. Try again.';
    throw new FairleadError('deadline-exceeded', message);
  }
  try {
    return await work();
  } finally {
    unlock();
  }
}
