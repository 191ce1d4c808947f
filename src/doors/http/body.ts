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
    const name = escapeForLog(cutToBytes(issue.keys[0] ?? '', 64));
    throw refusal(name, 'is not a field of this request; see GET /v1/openapi.json');
  }
  throw refusal(field, issue.code === 'invalid_type' ? expected(issue, value) : RULES.number);
}

const RULES = {
  string: 'must be text',
  boolean: 'must be true or false',
  object: 'must be a JSON object',
  number: `must be a whole number of milliseconds from 1 to ${MAX_DEADLINE_MS}`,
} as const;

function expected(issue: z.core.$ZodIssueInvalidType, value: unknown): string {
  const [name] = issue.path;
  if (typeof name === 'string' && typeof value === 'object' && value !== null && !Object.hasOwn(value, name)) {
    return 'is required';
  }
  switch (issue.expected) {
    case 'string':
      return RULES.string;
    case 'boolean':
      return RULES.boolean;
    case 'object':
      return RULES.object;
    default:
      return RULES.number;
  }
}
