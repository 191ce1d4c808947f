// How one process of ours asks another: requests and replies as they travel, whatever they are about. No socket, no clock, no
// decision. Each pair of processes has a table of verbs of its own, in its `protocol.ts`, made of what is here.
//
// THE CONVERSATION. A stream socket. Each direction is a row of frames (core/frames.ts), each one JSON object with exactly the
// members named here; a member too many is as bad as one too few. The asking side sends requests:
//
//   {"id": N, "verb": V, "budgetMs": B, ...arguments of V}
//
// `id` is a whole number from 1 to 2^53-1 that no other request in flight on this connection has. `budgetMs` is a whole
// number from 1 to MAX_DEADLINE_MS: how many milliseconds the caller waits for the answer. The first request must be
// `hello`, and there is only one. At most MAX_LINK_REQUESTS requests are in flight. The other side answers each request
// once, in any order:
//
//   {"id": N, "ok": R}        R: the result of the verb
//   {"id": N, "error": E}     E: {"code", "message", "field"?, "retryable", "leaf"?, "helperOutput"?}
//
// A result that may be larger than a frame is preceded by parts, {"id": N, "part": P}, that belong to it. Whoever receives
// anything else ends the connection, without an answer.

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../core/errors.js';
import { MAX_DEADLINE_MS, MAX_EXPORT_BYTES, MAX_FRAME_BYTES, MAX_HELPER_OUTPUT_BYTES } from '../core/limits.js';
import { isLeaf } from '../core/volume.js';

const id = z.int().min(1);

/** What every request has besides its verb and arguments. */
export const head = { id, budgetMs: z.int().min(1).max(MAX_DEADLINE_MS) };
/** A volume's URL as text; its grammar is the backend's. The scheme takes a few bytes more than the export. */
export const volume = z
  .string()
  .min(1)
  .max(MAX_EXPORT_BYTES + 64);
/** Text of an answer. */
export const text = z.string().max(MAX_FRAME_BYTES);
/** A number of bytes, and other numbers from 0. */
export const size = z.int().min(0);
/** What somebody found wrong (`Finding`). */
export const finding = z.strictObject({
  subject: text,
  severity: z.enum(['error', 'warning']),
  message: text,
  mend: text,
});
/** A failure (`ErrorBody`). */
export const failure = z.strictObject({
  code: z.custom<ErrorCode>((value) => typeof value === 'string' && Object.hasOwn(ERROR_CODES, value)),
  message: text,
  field: text.exactOptional(),
  retryable: z.boolean(),
  leaf: z
    .string()
    .refine((value): boolean => isLeaf(value))
    .exactOptional(),
  helperOutput: z.string().max(MAX_HELPER_OUTPUT_BYTES).exactOptional(),
});

/** Made once: zod compiles a schema when it is first used, which takes longer than reading the frame. */
const requestHead = z.looseObject({ id, verb: z.string() });

/** The verb and the number of a request whose arguments nobody has looked at yet; null if it has none of these verbs. */
export function readRequestHead<V extends string>(
  verbs: Readonly<Record<V, unknown>>,
  value: unknown,
): { readonly id: number; readonly verb: V } | null {
  const parsed = requestHead.safeParse(value);
  if (!parsed.success || !Object.hasOwn(verbs, parsed.data.verb)) return null;
  return { id: parsed.data.id, verb: parsed.data.verb as V };
}

const replyFrame = z.union([
  z.strictObject({ id, ok: z.unknown().refine((value) => value !== undefined) }),
  z.strictObject({ id, error: failure }),
  z.strictObject({ id, part: z.unknown().refine((value) => value !== undefined) }),
]);

/** A reply whose result nobody has looked at yet. */
export type Reply = z.output<typeof replyFrame>;

/** A reply, or null if it is none. */
export function readReply(value: unknown): Reply | null {
  const parsed = replyFrame.safeParse(value);
  return parsed.success ? parsed.data : null;
}
