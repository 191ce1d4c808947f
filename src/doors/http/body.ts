// Bytes of a request body become a value of the form that was asked for, or a refusal that names the field. Nothing of
// the value is repeated in a message.

import type { z } from 'zod';
import { FairleadError } from '../../core/errors.js';
import { MAX_DEADLINE_MS } from '../../core/limits.js';
import { cutToBytes, escapeForLog, refusal } from '../../core/text.js';

/** JSON of strictly valid UTF-8 (RFC 8259, 8.1); `invalid-argument` naming `body` otherwise. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (error) {
    // The parser's own message quotes the text.
    throw new FairleadError('invalid-argument', 'body must be a JSON object in UTF-8.', {
      field: 'body',
      cause: error,
    });
  }
}

/** The value, if it has the form; else `invalid-argument` for the first field that has not. */
export function checkBody<T>(form: z.ZodType<T>, value: unknown): T {
  const parsed = form.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue === undefined || issue.path.length === 0 ? 'body' : issue.path.join('.');
  if (issue === undefined) throw refusal(field, 'has the wrong form');
  if (issue.code === 'unrecognized_keys') {
    const name = [...issue.path, shownName(issue.keys[0] ?? '')].join('.');
    throw refusal(name, 'is not a field of this request; see GET /v1/openapi.json');
  }
  throw refusal(field, ruleOf(issue, value));
}

/** A name that somebody made up, as it may stand in an answer. */
export function shownName(name: string): string {
  return escapeForLog(cutToBytes(name, MAX_SHOWN_BYTES));
}

const MAX_SHOWN_BYTES = 64;
const MILLISECONDS = `must be a whole number of milliseconds from 1 to ${MAX_DEADLINE_MS}`;

function ruleOf(issue: z.core.$ZodIssue, value: unknown): string {
  const name = issue.path.at(-1);
  if (name === 'timeoutMs') return MILLISECONDS;
  switch (issue.code) {
    case 'invalid_type':
      return isMissing(issue, value) ? 'is required' : expected(issue);
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    default:
      return 'has the wrong form';
  }
}

function isMissing({ path }: z.core.$ZodIssueInvalidType, value: unknown): boolean {
  const [name] = path;
  return (
    path.length === 1 &&
    typeof name === 'string' &&
    typeof value === 'object' &&
    value !== null &&
    !Object.hasOwn(value, name)
  );
}

function expected(issue: z.core.$ZodIssueInvalidType): string {
  switch (issue.expected) {
    case 'string':
      return 'must be text';
    case 'boolean':
      return 'must be true or false';
    case 'object':
      return 'must be a JSON object';
    default:
      return 'must be a number';
  }
}
