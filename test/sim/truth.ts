// What the clients were told, kept apart from Fairlead's own records: the independent judge of who is attached.

import { userOf, type Consumer, type DiskName } from '../../src/core/names.js';
import type { AttachmentRecord } from '../../src/core/records.js';
import type { ConnectReply, DisconnectReply, ValidateReply } from '../../src/core/requests.js';
import type { Volume } from '../../src/core/volume.js';

/** Who uses what: the user (not the consumer's spelling), the leaf and the disk. */
export type Key = string;

/** How a request ended for its client. `lost`: it will never know. */
export type CallEnd =
  | { readonly how: 'reply'; readonly reply: ConnectReply | DisconnectReply | ValidateReply }
  | { readonly how: 'error'; readonly code: string; readonly message: string }
  | { readonly how: 'lost' };

/** One request of one client. */
export interface Call {
  readonly id: number;
  readonly kind: 'connect' | 'disconnect' | 'validate';
  readonly volume: Volume;
  readonly consumer: Consumer;
  readonly disk: DiskName | null;
  readonly readOnly: boolean;
  readonly key: Key;
  readonly deadlineMs: number;
  /** Milliseconds, and step of the scheduler. */
  readonly beganAt: number;
  readonly beganStep: number;
  end: CallEnd | null;
  endedAt: number;
  endedStep: number;
}

/** What is certain about an attachment. */
export type Certainty = 'live' | 'ended' | 'unknown';

/** The key of an attachment. */
export function keyOf(consumer: Consumer, { leaf }: Pick<Volume, 'leaf'>, disk: DiskName | null): Key {
  return `${userOf(consumer)} ${leaf} ${disk ?? ''}`;
}

/** Milliseconds for which work may go on after its request has ended. */
const AFTERLIFE_MS = 200_000;

/** Failures after which the client cannot know whether its connect had an effect in the end. */
const UNDECIDED = new Set(['deadline-exceeded', 'unavailable', 'internal', 'hung', 'stuck']);

/** Every request, and what follows from the answers. */
export class Truth {
  readonly calls: Call[] = [];
  readonly #byKey = new Map<Key, Call[]>();
  /** Step at which all attachments became uncertain: the ledger was lost. */
  forgottenAt = -1;
  /** Step at which an attachment became uncertain: the agent may have ended it, since its domain had not used it for long. */
  readonly #forfeitedAt = new Map<Key, number>();
  /** Step at which an attachment became uncertain that had ended: an older copy of the ledger has it. */
  readonly #revivedAt = new Map<Key, number>();
  /** Some records were lost. */
  recordsLost = false;
  /** Grows whenever something here changes. */
  version = 0;

  add(call: Call): void {
    this.version += 1;
    this.calls.push(call);
    const calls = this.#byKey.get(call.key) ?? [];
    calls.push(call);
    this.#byKey.set(call.key, calls);
  }

  get keys(): readonly Key[] {
    return [...this.#byKey.keys()];
  }

  callsOf(key: Key): readonly Call[] {
    return this.#byKey.get(key) ?? [];
  }

  /** The ledger was lost: nothing recorded is promised any more. */
  forget(step: number): void {
    this.version += 1;
    this.forgottenAt = step;
    this.recordsLost = true;
  }

  /**
   * An older copy of the ledger was put back. What is in both, by its id, is promised as before. What is only in the one
   * that was there, and what is only in the copy, nobody can know any more.
   */
  rewind(before: readonly AttachmentRecord[], copy: readonly AttachmentRecord[], step: number): void {
    const both = new Set(copy.map(({ id }) => id));
    for (const { id, consumer, leaf, disk } of before) {
      if (!both.delete(id)) this.forfeit(keyOf(consumer, { leaf }, disk), step);
    }
    for (const { id, consumer, leaf, disk } of copy) {
      if (both.has(id)) this.#revivedAt.set(keyOf(consumer, { leaf }, disk), step);
    }
    this.recordsLost = true;
    this.version += 1;
  }

  /** The agent may end this attachment from now on, until it is connected again. */
  forfeit(key: Key, step: number): void {
    this.version += 1;
    this.#forfeitedAt.set(key, step);
  }

  /** The step up to which nothing that was promised of the attachment counts any more. */
  forgottenOf(key: Key): number {
    return Math.max(this.forgottenAt, this.#forfeitedAt.get(key) ?? -1);
  }

  /**
   * `live`: a connect was answered with success and no disconnect was asked for since that connect began. `ended`: a
   * disconnect was answered, or there never was a connect, and no connect that may have had an effect began or ended
   * since that disconnect began. Else nobody can know.
   */
  certainty(key: Key): Certainty {
    const calls = this.callsOf(key).filter((call) => call.kind !== 'validate');
    const disconnects = calls.filter((call) => call.kind === 'disconnect');
    const live = calls.some(
      (call) =>
        call.kind === 'connect' &&
        call.end?.how === 'reply' &&
        call.beganStep > this.forgottenOf(key) &&
        disconnects.every((other) => other.end !== null && other.endedStep < call.beganStep),
    );
    if (live) return 'live';
    const revived = this.#revivedAt.get(key) ?? -1;
    const ended = disconnects.findLast((call) => call.end?.how === 'reply' && call.beganStep > revived);
    const since = Math.max(ended?.beganStep ?? -1, -1);
    const effective = calls.some(
      (call) => call.kind === 'connect' && mayHaveEffect(call) && (call.end === null || call.endedStep >= since),
    );
    return effective ? 'unknown' : 'ended';
  }

  /** The keys of a leaf. */
  keysOf(volume: Volume): readonly Key[] {
    return this.keys.filter((key) => key.split(' ')[1] === volume.leaf);
  }

  /** Whether Fairlead may be at work for a key: also after its client was told nothing, or that it took too long. */
  mayBeAtWork(key: Key, now: number): boolean {
    return this.callsOf(key).some(
      ({ kind, end, endedAt }) =>
        kind !== 'validate' && (end === null || (end.how !== 'reply' && endedAt > now - AFTERLIFE_MS)),
    );
  }

  /** Whether anything about a key was asked for and open at any time since that step. */
  inMotion(key: Key, step: number): boolean {
    return this.callsOf(key).some((call) => call.kind !== 'validate' && (call.end === null || call.endedStep >= step));
  }
}

function mayHaveEffect(call: Call): boolean {
  return call.end?.how !== 'error' || UNDECIDED.has(call.end.code);
}
