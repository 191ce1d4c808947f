// What validation may say about a volume, and why.

/** What validation says; exactly one of these. */
export const VERDICTS = ['healthy', 'absent', 'foreign', 'stale', 'hung', 'denied', 'read-only'] as const;
/** See {@link VERDICTS}. */
export type Verdict = (typeof VERDICTS)[number];

/** How a volume is going to be used; read-only use waives the test for write permission. */
export type Access = 'read-write' | 'read-only';

/** A verdict with its evidence. */
export interface Judgement {
  readonly verdict: Verdict;
  /** One sentence for people: what was seen, and what it means. Never a volume's name. */
  readonly reason: string;
  /** What to do about it, where that is something else than the verdict alone says. */
  readonly advice?: string;
  /**
   * True only when the mount is proven dead: every call on it fails at once because its connection is gone or the
   * server disowns it. Only a dead mount may be replaced under its users.
   */
  readonly dead: boolean;
  /** The errno that decided it, if one did (`ENOTCONN` is the only one that permits a lazy detach). */
  readonly errno?: string;
}

/** What one probe of a mounted volume saw. Every field is the server's answer, or the lack of one. */
export interface ProbeFacts {
  /** `answered`: statfs returned. `failed`: it returned an errno. `hung`: no answer within the deadline. */
  readonly statfs: ProbeStep;
  /** Attributes of the root directory, if they were given. */
  readonly root?: { readonly isDirectory: boolean; readonly size: number; readonly dev: string; readonly mode: number };
  readonly rootError?: string;
  /** Write and search permission of the user that will use it: errno, or `granted`. */
  readonly write: 'granted' | 'not-asked' | { readonly errno: string };
  readonly search: 'granted' | 'not-asked' | { readonly errno: string };
  /** The backend's extended attribute: a witness for, never against. */
  readonly witness: 'present' | 'absent' | 'not-asked';
}

/** How one call of a probe ended. */
export type ProbeStep =
  { readonly end: 'answered' } | { readonly end: 'failed'; readonly errno: string } | { readonly end: 'hung' };
