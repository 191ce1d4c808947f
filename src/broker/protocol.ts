// The words between agent and broker, and nothing else: no socket, no clock, no decision. Both sides read every byte
// with this file and trust none of it.
//
// THE PROTOCOL, version 1. A stream socket (run_dir/broker.sock). Each direction is a row of frames. A frame is four
// bytes, the length of the rest, unsigned and big-endian, from 2 to MAX_FRAME_BYTES; then that many bytes of UTF-8 (no
// byte order mark): one JSON object. Objects have exactly the members named here; a member too many is as bad as one too
// few. The agent sends requests:
//
//   {"id": N, "verb": V, "budgetMs": B, ...arguments of V}
//
// `id` is a whole number from 1 to 2^53-1 that no other request in flight on this connection has. `budgetMs` is a whole
// number from 1 to MAX_DEADLINE_MS: how many milliseconds the caller waits for the answer. The first request must be
// `hello`, and there is only one. At most MAX_BROKER_REQUESTS requests are in flight. The broker answers each request
// once, in any order:
//
//   {"id": N, "ok": R}        R: the result of the verb
//   {"id": N, "error": E}     E: {"code", "message", "field"?, "retryable", "leaf"?, "helperOutput"?}
//
// A result that may be larger than a frame (`inventory`) is preceded by parts, {"id": N, "part": P}, that belong to it.
// Volumes travel as URL text and are parsed again by the broker; leaves, paths and programs never travel to the broker.
// Whoever receives anything else ends the connection, without an answer.

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../core/errors.js';
import {
  MAX_DEADLINE_MS,
  MAX_EXPORT_BYTES,
  MAX_FRAME_BYTES,
  MAX_HELPER_OUTPUT_BYTES,
  MAX_NAME_BYTES,
} from '../core/limits.js';
import { STEP_KINDS } from '../core/steps.js';
import { VERDICTS } from '../core/verdict.js';
import { isLeaf, type Leaf } from '../core/volume.js';

/** Said in `hello`; agent and broker of different versions do not talk. */
export const PROTOCOL_VERSION = 1;

/** Bytes of a frame's header. */
const HEADER_BYTES = 4;
/** The smallest JSON object: `{}`. */
const MIN_FRAME_BYTES = 2;

/** A byte stream with a peer on the other end: a socket, or two queues in a test. */
export interface Transport {
  /** Queues the bytes; never blocks. After the end it does nothing. */
  send(bytes: Uint8Array): void;
  /** Called with each piece that arrives, of any size. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Called once, when nothing can arrive any more, whoever ended it. */
  onClose(listener: () => void): void;
  /** Ends the connection at once, both ways. */
  close(): void;
}

// --- frames -----------------------------------------------------------------------------------------------------

/** The frame of a value. Throws RangeError if it is larger than MAX_FRAME_BYTES. */
export function encodeFrame(value: object): Uint8Array {
  const body = new TextEncoder().encode(JSON.stringify(value));
  if (body.length > MAX_FRAME_BYTES) throw new RangeError('a frame larger than MAX_FRAME_BYTES');
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** What a decoder made of the bytes so far. After `broken` it takes nothing more. */
export interface Decoded {
  /** JSON values of the complete frames, in order; not checked against any schema. */
  readonly values: readonly unknown[];
  /** Why the connection must end; null while all is well. */
  readonly broken: string | null;
}

/** Turns pieces of a stream into the values of its frames. Never throws, and never holds more than one frame. */
export class FrameDecoder {
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #held = new Uint8Array(HEADER_BYTES);
  #filled = 0;
  /** Bytes of the body, or -1 while the header is incomplete. */
  #length = -1;
  #broken: string | null = null;

  /** Takes the next piece. */
  push(bytes: Uint8Array): Decoded {
    const values: unknown[] = [];
    let offset = 0;
    while (this.#broken === null && offset < bytes.length) {
      offset += this.#take(bytes, offset);
      if (this.#length >= 0 && this.#filled === this.#length) this.#finish(values);
    }
    return { values, broken: this.#broken };
  }

  #take(bytes: Uint8Array, offset: number): number {
    const wanted = (this.#length < 0 ? HEADER_BYTES : this.#length) - this.#filled;
    const count = Math.min(wanted, bytes.length - offset);
    this.#reserve(this.#filled + count);
    this.#held.set(bytes.subarray(offset, offset + count), this.#filled);
    this.#filled += count;
    if (this.#length < 0 && this.#filled === HEADER_BYTES) {
      const length = new DataView(this.#held.buffer).getUint32(0);
      if (length < MIN_FRAME_BYTES || length > MAX_FRAME_BYTES) this.#broken = 'a frame of a forbidden length';
      this.#length = length;
      this.#filled = 0;
    }
    return count;
  }

  /** Grows by doubling, so that a large length alone costs nothing. */
  #reserve(size: number): void {
    if (size <= this.#held.length) return;
    const larger = new Uint8Array(Math.max(size, this.#held.length * 2));
    larger.set(this.#held);
    this.#held = larger;
  }

  #finish(values: unknown[]): void {
    try {
      values.push(JSON.parse(this.#text.decode(this.#held.subarray(0, this.#length))));
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
      this.#broken = 'a frame that is not JSON in UTF-8';
    }
    this.#held = new Uint8Array(HEADER_BYTES);
    this.#filled = 0;
    this.#length = -1;
  }
}

// --- requests ---------------------------------------------------------------------------------------------------

const id = z.int().min(1);
const head = { id, budgetMs: z.int().min(1).max(MAX_DEADLINE_MS) };
/** The URL's text; its grammar is the backend's. The scheme takes a few bytes more than the export. */
const volume = z
  .string()
  .min(1)
  .max(MAX_EXPORT_BYTES + 64);
const access = z.enum(['read-write', 'read-only']);

/** What each verb takes. */
export const REQUESTS = {
  hello: z.strictObject({ ...head, verb: z.literal('hello'), version: z.int().min(0) }),
  observe: z.strictObject({ ...head, verb: z.literal('observe'), volume, probe: access.nullable() }),
  step: z.strictObject({ ...head, verb: z.literal('step'), volume, kind: z.enum(STEP_KINDS) }),
  settle: z.strictObject({ ...head, verb: z.literal('settle'), volume }),
  disk: z.strictObject({ ...head, verb: z.literal('disk'), volume, name: z.string().min(1).max(MAX_NAME_BYTES) }),
  holders: z.strictObject({ ...head, verb: z.literal('holders'), volume }),
  inventory: z.strictObject({ ...head, verb: z.literal('inventory') }),
  examine: z.strictObject({ ...head, verb: z.literal('examine') }),
} as const;

/** What the broker can be asked for. */
export type VerbName = keyof typeof REQUESTS;
/** A request that passed its schema. */
export type RequestOf<V extends VerbName> = z.output<(typeof REQUESTS)[V]>;

/** Made once: zod compiles a schema when it is first used, which takes longer than reading the frame. */
const requestHead = z.looseObject({ id, verb: z.string() });

/** The verb and the number of a request whose arguments nobody has looked at yet; null if it has none. */
export function readRequestHead(value: unknown): { readonly id: number; readonly verb: VerbName } | null {
  const parsed = requestHead.safeParse(value);
  if (!parsed.success || !Object.hasOwn(REQUESTS, parsed.data.verb)) return null;
  return { id: parsed.data.id, verb: parsed.data.verb as VerbName };
}

// --- replies ----------------------------------------------------------------------------------------------------

const text = z.string().max(MAX_FRAME_BYTES);
const leaf = z.custom<Leaf>(isLeaf);
const code = z.custom<ErrorCode>((value) => typeof value === 'string' && Object.hasOwn(ERROR_CODES, value));
const size = z.int().min(0);

const errorBody = z.strictObject({
  code,
  message: text,
  field: text.exactOptional(),
  retryable: z.boolean(),
  leaf: z
    .string()
    .refine((value): boolean => isLeaf(value))
    .exactOptional(),
  helperOutput: z.string().max(MAX_HELPER_OUTPUT_BYTES).exactOptional(),
});
const stepEnd = z.discriminatedUnion('end', [
  z.strictObject({ end: z.literal('done'), changed: z.boolean() }),
  z.strictObject({ end: z.literal('refused'), error: errorBody }),
  z.strictObject({ end: z.literal('unknown'), error: errorBody }),
]);
const observedMount = z.strictObject({
  recognised: z.boolean(),
  fsType: text,
  dev: text,
  readOnly: z.boolean(),
  hardened: z.boolean(),
});
const judgement = z.strictObject({
  verdict: z.enum(VERDICTS),
  reason: text,
  dead: z.boolean(),
  errno: text.exactOptional(),
});
const observation = {
  leaf,
  mountpoint: text,
  directory: z.enum(['absent', 'empty', 'occupied', 'link', 'not-a-directory', 'mounted']),
  mounts: z.array(observedMount),
  unit: z.enum(['idle', 'starting', 'serving']),
  judgement: judgement.exactOptional(),
};
const holder = z.strictObject({
  pid: size,
  command: text,
  by: z.enum(['descriptor', 'directory', 'root', 'mapping', 'namespace']),
});
const finding = z.strictObject({
  subject: text,
  severity: z.enum(['error', 'warning']),
  message: text,
  mend: text,
});
const inventoryPart = z.strictObject({
  items: z.array(z.strictObject({ ...observation, backend: text, url: text.exactOptional() })),
  units: z.array(leaf),
});

/** What each verb answers, as it travels. */
export const RESULTS = {
  hello: z.strictObject({ version: z.int().min(0), bootId: text }),
  observe: z.strictObject(observation),
  step: stepEnd,
  settle: z.enum(['settled', 'acting']),
  disk: z.strictObject({ state: z.enum(['absent', 'regular', 'link', 'other']), size }),
  holders: z.array(holder),
  inventory: z.strictObject({ bootId: text }),
  examine: z.array(finding),
} as const;

/** What each verb's parts hold; a verb that is missing here has none. */
export const PARTS = { inventory: inventoryPart } as const;

/** A result that passed its schema. */
export type ResultOf<V extends VerbName> = z.output<(typeof RESULTS)[V]>;
/** One part of an inventory. */
export type InventoryPart = z.output<typeof inventoryPart>;

const replyFrame = z.union([
  z.strictObject({ id, ok: z.unknown().refine((value) => value !== undefined) }),
  z.strictObject({ id, error: errorBody }),
  z.strictObject({ id, part: z.unknown().refine((value) => value !== undefined) }),
]);

/** A reply whose result nobody has looked at yet. */
export type Reply = z.output<typeof replyFrame>;

/** A reply, or null if it is none. */
export function readReply(value: unknown): Reply | null {
  const parsed = replyFrame.safeParse(value);
  return parsed.success ? parsed.data : null;
}
