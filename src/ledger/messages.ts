// What the main thread and the ledger's thread say to each other. One question, one answer, in order; errors travel as
// their outside form plus the text of their cause, since an error's class does not survive the way.

import { errorBody, errorFromBody, FairleadError, type ErrorBody } from '../core/errors.js';
import type { Change, LedgerSnapshot } from '../core/records.js';
import type { LedgerWarning, OpenOptions } from './open.js';

/** A failure on its way between the threads. */
export interface Failure {
  readonly body: ErrorBody;
  /** For the log. */
  readonly cause: string | null;
}

/** To the ledger's thread. */
export type Question =
  | ({ readonly kind: 'open' } & Pick<OpenOptions, 'directory' | 'version' | 'witness'>)
  | { readonly kind: 'load' }
  /** Can anything be written at the ledger's path? */
  | { readonly kind: 'look' }
  | { readonly kind: 'commit'; readonly commits: readonly (readonly Change[])[] }
  | { readonly kind: 'close' };

/** Beside the answers, unasked. */
export interface Warning {
  readonly kind: 'warning';
  readonly event: LedgerWarning;
  readonly cause: string | null;
}

/** From the ledger's thread. `ready` comes first, unasked, when its code is loaded. `failed` to a `commit`: none of it was made, and the ledger is of no more use. */
export type Answer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'loaded'; readonly snapshot: LedgerSnapshot }
  | { readonly kind: 'committed'; readonly failures: readonly (Failure | null)[] }
  | { readonly kind: 'looked'; readonly fault: Failure | null }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** Packs an error. */
export function toFailure(error: unknown): Failure {
  const cause = error instanceof FairleadError ? error.cause : error;
  return { body: errorBody(error), cause: cause instanceof Error ? (cause.stack ?? cause.message) : null };
}

/** Unpacks it. */
export function fromFailure({ body, cause }: Failure): FairleadError {
  const error = errorFromBody(body);
  return cause === null
    ? error
    : new FairleadError(error.code, error.message, {
        ...(error.field === undefined ? {} : { field: error.field }),
        ...(error.leaf === undefined ? {} : { leaf: error.leaf }),
        cause: new Error(cause),
      });
}
