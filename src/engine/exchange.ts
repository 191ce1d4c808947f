// A request and the work done for it have different lifetimes. The request is answered by its deadline, come what may;
// the work goes on, with its lock, until the world is in order again. This is where the two part.

import { FairleadError } from '../core/errors.js';
import { REPLY_GRACE_MS } from '../core/limits.js';
import { type Clock, NOT_NEEDED } from '../core/clock.js';
import type { RequestContext } from '../core/requests.js';
import type { Leaf } from '../core/volume.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import type { EventLog } from './ports.js';

/** Time kept back from the grace so that the reply itself still arrives within it, milliseconds. */
const REPLY_TRAVEL_MS = 150;

/** The request's side, as the work sees it. */
export interface Exchange<Reply> {
  /** The request has been answered; whatever is still done is done for the world's sake. */
  isAnswered(): boolean;
  /** Answers now, and goes on working. */
  answer(reply: Reply): void;
  /** What to say if the deadline comes before the work is over: the failure that is being cleaned up after. */
  failing(error: unknown): void;
}

/**
 * Runs `work` and answers with its result, with what it said by {@link Exchange.answer}, or, one grace after the
 * deadline at the latest, with its failure so far, or with the `obstacle` that is known then (`deadline-exceeded` if there
 * is neither). `work` is never cut off.
 */
export async function answerWithin<Reply>(
  clock: Clock,
  log: EventLog,
  deadline: Deadline,
  work: (exchange: Exchange<Reply>) => Promise<Reply>,
  obstacle: () => FairleadError | null = () => null,
): Promise<Reply> {
  let resolve!: (reply: Reply) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<Reply>((...ends) => ([resolve, reject] = ends));
  let answered = false;
  // What there is none of is made only when it is needed: an error has a stack, and most requests end well.
  let failure: unknown = null;
  const close = (): boolean => {
    const first = !answered;
    answered = true;
    return first;
  };
  const exchange: Exchange<Reply> = {
    isAnswered: () => answered,
    answer: (reply) => {
      if (close()) resolve(reply);
    },
    failing: (error) => {
      failure = error;
    },
  };
  const timer = new AbortController();
  void clock.sleep(deadline.remaining + REPLY_GRACE_MS - REPLY_TRAVEL_MS, timer.signal).then(() => {
    if (close()) reject((failure as Error | null) ?? obstacle() ?? lateError());
  });
  void work(exchange)
    .then(
      (reply) => {
        if (close()) resolve(reply);
      },
      (error: unknown) => {
        if (close()) reject(error as Error);
        else log.warn('work-failed-after-its-answer', { error });
      },
    )
    .finally(() => timer.abort(NOT_NEEDED));
  return promise;
}

function lateError(): FairleadError {
  return new FairleadError(
    'deadline-exceeded',
    'The request was not done in time. What it began is being worked off; repeat the request to learn how it ended.',
  );
}

/**
 * Does a request's work under the leaf's lock, and answers within the request's time. The lock is freed by the end of
 * the work, never by the answer.
 */
export async function underLock<Reply>(
  context: Context,
  leaf: Leaf,
  { deadlineMs, signal }: RequestContext,
  work: (deadline: Deadline, exchange: Exchange<Reply>) => Promise<Reply>,
): Promise<Reply> {
  const { clock, log } = context.ports;
  const deadline = new Deadline(clock, deadlineMs, signal);
  const unlock = await context.locks.acquireWithin(leaf, deadline).catch((error: unknown) => {
    // Whoever has the lock may wait for the disk.
    const isLate = error instanceof FairleadError && error.code === 'deadline-exceeded';
    throw (isLate ? context.diskFault : null) ?? error;
  });
  const locked = async (exchange: Exchange<Reply>): Promise<Reply> => {
    try {
      // Here and not before the lock: the engine may be stopped while a request waits.
      context.checkRunning();
      return await context.track(work(deadline, exchange));
    } finally {
      unlock();
    }
  };
  return answerWithin<Reply>(clock, log, deadline, locked, () => context.diskFault);
}
