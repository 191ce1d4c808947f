// What a command is, and the pieces that several have. Pure.

import { FairleadError } from '../core/errors.js';
import { DEFAULT_DEADLINE_MS, DEFAULT_SHORT_DEADLINE_MS, MAX_DEADLINE_MS } from '../core/limits.js';
import { parseDecimal } from '../core/numbers.js';
import { cutToBytes, escapeForLog } from '../core/text.js';

/** One option of a command. */
export interface Option {
  /** What stands for its value in the help; null: it takes none. */
  readonly value: string | null;
  readonly description: string;
  readonly required?: true;
}

/** One operand of a command; all of them must be given. */
export interface Operand {
  /** What stands for it in the help. */
  readonly name: string;
  /** Its field in a refusal. */
  readonly field: string;
}

/** The arguments of a command; options that were not given are absent. */
export interface Given {
  /** As many as the command has, in their order. */
  readonly operands: readonly string[];
  readonly text: Readonly<Record<string, string>>;
  readonly flags: ReadonlySet<string>;
}

/** What is sent to the agent. */
export interface Question {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Milliseconds within which the agent is to answer. */
  readonly deadlineMs: number;
}

/** One command. */
export interface Command {
  /** The words that call it: `connect`, or `vm attach` in a group. */
  readonly name: string;
  readonly summary: string;
  readonly operands: readonly Operand[];
  readonly options: Readonly<Record<string, Option>>;
  /** What follows the name in the help, where operands and options cannot say it. */
  readonly usage?: string;
  /** Null: it is not the agent who is asked (`up`). */
  readonly question: ((given: Given) => Question) | null;
  /** The answer as text for people. */
  show(reply: unknown, given: Given): string;
  /** Exit status of an answer; errors have theirs from their code. */
  exit?(reply: unknown): number;
  /** What becomes of the request when Ctrl-C ends the command; absent: it changes nothing. */
  readonly interrupted?: string;
  /** Sentences for the help, beyond the summary. */
  readonly notes: readonly string[];
}

/** Commands that begin with the same word. */
export interface Group {
  readonly name: string;
  readonly summary: string;
}

/** `URL`. */
export const URL_OPERAND: Operand = { name: 'URL', field: 'url' };
/** `--disk NAME`. */
export const DISK: Option = { value: 'NAME', description: 'a file in the volume: one path component' };
/** Of the commands that may run a mount helper. */
export const SHOW_HELPER_OUTPUT: Option = {
  value: null,
  description: 'after a failure print all that the mount helper printed, which may hold secrets; root only',
};
/** `--timeout S` where an answer may take long. */
export const LONG = timeout(DEFAULT_DEADLINE_MS / 1000);
/** Of the requests that the agent carries on with, whoever still waits. */
export const GOES_ON =
  'The agent goes on with it all the same. Say it again to learn how it ended; nothing is done twice.';
/** `--timeout S` where it may not. */
export const SHORT = timeout(DEFAULT_SHORT_DEADLINE_MS / 1000);

function timeout(seconds: number): Option {
  return {
    value: 'S',
    description: `seconds within which an answer is wanted, 1 to ${MAX_DEADLINE_MS / 1000}; default ${seconds}`,
  };
}

/** A POST with the request's deadline, from `--timeout` or the default. */
export function post(path: string, given: Given, fallbackMs: number, body: Record<string, unknown>): Question {
  const deadlineMs = askedDeadline(given);
  if (deadlineMs === null) return { method: 'POST', path, deadlineMs: fallbackMs, body };
  return { method: 'POST', path, deadlineMs, body: { ...body, timeoutMs: deadlineMs } };
}

/** A GET with the request's deadline, from `--timeout` or the default. */
export function get(path: string, given: Given, fallbackMs: number): Question {
  const deadlineMs = askedDeadline(given);
  if (deadlineMs === null) return { method: 'GET', path, deadlineMs: fallbackMs };
  return { method: 'GET', path: `${path}?timeoutMs=${deadlineMs}`, deadlineMs };
}

function askedDeadline({ text: { timeout: seconds } }: Given): number | null {
  if (seconds === undefined) return null;
  return parseDecimal(seconds, 'timeout', { min: 1, max: MAX_DEADLINE_MS / 1000 }) * 1000;
}

/** The options of these names, as fields of a body. */
export function fields(given: Given, ...names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(given.text).filter(([name]) => names.includes(name)));
}

/** A flag as a field of a body. */
export function flag(given: Given, option: string, field: string): Record<string, true> {
  return given.flags.has(option) ? { [field]: true } : {};
}

/** Words that do not make a request. */
export function misuse(what: string, field: string): FairleadError {
  return new FairleadError('invalid-argument', what, { field: quote(field) });
}

/** A word of the command line as it may be shown. */
export function quote(word: string): string {
  return escapeForLog(cutToBytes(word, 64));
}
