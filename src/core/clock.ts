// Time, as a port: the core and the engine have no clock of their own.

/**
 * What a sleep is aborted with whose end is no failure: without a reason AbortController.abort() makes an error with a
 * stack, at every request, that nobody reads.
 */
export const NOT_NEEDED = 'not needed any more';

/** Milliseconds, monotonic. */
export interface Clock {
  now(): number;
  /** ISO 8601 wall-clock time, for people only: never compared. */
  date(): string;
  /** Resolves after `ms`, or early (no error) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
