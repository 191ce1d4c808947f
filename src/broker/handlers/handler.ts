// What every handler of a verb is given and must keep to.

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
