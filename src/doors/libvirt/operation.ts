// An operation on a guest and the request for it have different lifetimes: the request is answered in time, come what may; the operation
// goes on until domain and attachment agree again. No client that goes away stops it half-way.

import type { Clock } from '../../core/clock.js';
import { LATE, until, within, type Deadline } from '../../core/deadline.js';
import type { Domain, DomainName, DomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor-api.js';
import { REPLY_GRACE_MS } from '../../core/limits.js';
import type { RequestContext } from '../../core/requests.js';
import type { EventLog } from './ports.js';

/** Milliseconds for each step that undoes something, whatever is left of the request's time. */
export const UNDO_MS = 10_000;
/** Milliseconds that are kept back for the steps that come after one: some of them, or only the look at how it ended. */
const RESERVES_MS = { steps: 5000, look: 1000 } as const;
/** Milliseconds that a domain is looked for, at least, after a step whose end is not known. */
const LOOK_MS = 5000;
const LOOK_PAUSES = { first: 100, last: 1000 };
/** Time kept back from the grace so that the reply itself still arrives within it, milliseconds. */
const REPLY_TRAVEL_MS = 100;

/** The request's side, as the operation sees it. */
export interface Exchange {
  /** The request has been answered, with a failure: what is still done is done for the world's sake. */
  isAnswered(): boolean;
  /** What to say if the deadline comes before the operation is over. */
  failing(error: FairleadError): void;
}

/** Runs an operation and answers with its end, or, one grace after the deadline at the latest, with its failure so far. */
export async function answerInTime<Reply>(
  { clock, log }: { readonly clock: Clock; readonly log: EventLog },
  deadline: Deadline,
  operation: (exchange: Exchange) => Promise<Reply>,
): Promise<Reply> {
  let answered = false;
  let failure = new FairleadError(
    'deadline-exceeded',
    'The request was not done in time; what it began is being undone. Repeating it is safe, and waits for that.',
  );
  const work = operation({
    isAnswered: () => answered,
    failing: (error) => {
      failure = error;
    },
  });
  const end = await within(clock, work, deadline.remaining + REPLY_GRACE_MS - REPLY_TRAVEL_MS);
  if (end !== LATE) return end;
  answered = true;
  work.catch((error: unknown) => {
    log.warn('vm-operation-failed-after-its-answer', { error });
  });
  throw failure;
}

/** The time of one step of a request: all that is left but what is kept back for what comes after it, at least half. */
export function stepTime(deadline: Deadline, after: keyof typeof RESERVES_MS): number {
  return Math.max(1, Math.floor(Math.max(deadline.remaining / 2, deadline.before(RESERVES_MS[after]))));
}

/** A context for the engine: so much time, and no client that could go away. */
export function unhurried(deadlineMs: number): RequestContext {
  return { deadlineMs: Math.max(1, Math.floor(deadlineMs)), signal: new AbortController().signal };
}

/**
 * Whether a failed step on a domain certainly changed nothing there. After anything else (`unavailable`, `deadline-exceeded`, a defect …)
 * nobody knows before somebody has looked.
 */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof FairleadError)) return false;
  switch (error.code) {
    case 'invalid-argument':
    case 'not-found':
    case 'permission-denied':
    case 'conflict':
    case 'foreign':
    case 'resource-exhausted':
    case 'config-invalid':
    case 'helper-untrusted':
      return true;
    case 'busy':
    case 'unhealthy':
    case 'hung':
    case 'deadline-exceeded':
    case 'stuck':
    case 'helper-failed':
    case 'unavailable':
    case 'internal':
      return false;
  }
}

/** What somebody saw who looked at a domain after a step whose end is not known. */
export type Look = { readonly seen: 'domain'; readonly domain: Domain } | { readonly seen: 'no-domain' };

/** Looks at a domain until somebody answers; null when nobody did in time. */
export async function look(
  { clock, hypervisor }: { readonly clock: Clock; readonly hypervisor: Hypervisor },
  uuid: DomainUuid,
  deadline: Deadline,
): Promise<Look | null> {
  const ms = Math.max(LOOK_MS, deadline.remaining);
  return await until<Look>(clock, ms, LOOK_PAUSES, async () => {
    try {
      return { seen: 'domain', domain: await hypervisor.domain(nameOf(uuid), LOOK_MS) };
    } catch (error) {
      if (!(error instanceof FairleadError)) throw error;
      return error.code === 'not-found' ? { seen: 'no-domain' } : null;
    }
  });
}

/** A domain's UUID as its name: every domain can be asked for by it. */
export function nameOf(uuid: DomainUuid): DomainName {
  return uuid as string as DomainName;
}

/** The same failure with one more sentence. Failures that are not ours pass unchanged. */
export function withSentence(error: unknown, sentence: string): unknown {
  if (!(error instanceof FairleadError)) return error;
  const { code, message, field, leaf, helperOutput } = error;
  return new FairleadError(code, `${message} ${sentence}`, {
    ...(field === undefined ? {} : { field }),
    ...(leaf === undefined ? {} : { leaf }),
    ...(helperOutput === undefined ? {} : { helperOutput }),
    cause: error,
  });
}

/** Nobody can say whether the step was done. */
export function notKnown(cause: unknown, sentence: string): FairleadError {
  return new FairleadError(
    'unavailable',
    `It is not known whether the domain has the disk: libvirt or the hypervisor process stopped answering. ${sentence} Say the same again: that is safe, and finishes it.`,
    { cause },
  );
}
