// What every handler of a verb is given and must keep to.

import type { Context } from '../context.js';
import type { Deadline } from '../deadline.js';
import type { InventoryPart, RequestOf, ResultOf, VerbName } from '../protocol.js';

/** One request at work. */
export interface Call {
  readonly context: Context;
  readonly deadline: Deadline;
  /** Sends a part ahead of the result; only verbs with parts do. */
  readonly emit: (part: InventoryPart) => void;
}

/**
 * Carries out one verb. The request has passed its schema and nothing more. Throws FairleadErrors; anything else it throws
 * becomes `internal`.
 */
export type Handler<V extends VerbName> = (call: Call, request: RequestOf<V>) => Promise<ResultOf<V>>;
