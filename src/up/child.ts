// What agent and broker have in common as processes: how they are told which configuration to read, how they tell their
// supervisor how it goes, and how a test makes one kill itself at a chosen point.

import { FairleadError, isErrorCode, type ErrorBody } from '../core/errors.js';
import type { Reach } from '../core/journal.js';

/** What a child tells `fairlead up`. */
export type ChildNews = { readonly ready: true } | { readonly failed: ErrorBody };

/** The FILE of `--config FILE`, or null; anything else on the command line is refused. */
export function configArgument(words: readonly string[]): string | null {
  const [option, file, ...rest] = words;
  if (option === undefined) return null;
  if (option === '--config' && file !== undefined && rest.length === 0) return file;
  throw new FairleadError('invalid-argument', 'The only option is --config FILE.', { field: 'config' });
}

/** Tells the supervisor, if there is one. */
export function tellSupervisor(news: ChildNews): void {
  if (process.connected) process.send?.(news);
}

/** A child's message in its form, or null. The agent reads what strangers write, so its words are checked too. */
export function readNews(message: unknown): ChildNews | null {
  if (typeof message !== 'object' || message === null) return null;
  const { ready, failed } = message as { readonly ready?: unknown; readonly failed?: unknown };
  if (ready === true) return { ready };
  if (typeof failed !== 'object' || failed === null) return null;
  const { code, message: text, field } = failed as Partial<Record<keyof ErrorBody, unknown>>;
  if (!isErrorCode(code) || typeof text !== 'string') return null;
  return { failed: { code, message: text, retryable: false, ...(typeof field === 'string' ? { field } : {}) } };
}

/** Kills this process with SIGKILL when it reaches `point`. Only for an isolated set-up; null does nothing. */
export function haltAt<Point extends string>(point: string | null): Reach<Point> {
  if (point === null) return () => undefined;
  return (reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  };
}
