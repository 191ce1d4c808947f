// The asking half of a conversation: one connection that is made again whenever it is lost, with many questions on it at once, and
// nobody waits longer than he was told to. What comes in is another process's bytes; they are checked like a stranger's. No
// decision is made here.

import type { z } from 'zod';
import { type Clock, NOT_NEEDED } from '../core/clock.js';
import { type ErrorCode, errorFromBody, FairleadError } from '../core/errors.js';
import { encodeFrame, FrameDecoder, type Transport } from '../core/frames.js';
import {
  LINK_HELLO_MS,
  LINK_PATIENCE_MS,
  LINK_PAUSE_FIRST_MS,
  LINK_PAUSE_LAST_MS,
  LINK_REPLY_GRACE_MS,
  MAX_DEADLINE_MS,
  MAX_LINK_REQUESTS,
} from '../core/limits.js';
import { readReply, type Reply } from './forms.js';

/** What a line needs from outside. */
export interface LinePorts {
  readonly clock: Clock;
  /** One attempt to reach the other's socket; rejects when nobody listens. */
  dial(): Promise<Transport>;
}

/** Who is at the other end. */
export interface Other {
  /** In messages: `the broker`. */
  readonly name: string;
  /** The version of its protocol; with any other nobody talks. */
  readonly version: number;
  /** The form of what it answers to `hello`. */
  readonly hello: z.ZodType<{ readonly version: number }>;
}

/** A question, and the form of its answer. */
export interface Question<Result, Part> {
  readonly verb: string;
  readonly args: object;
  readonly result: z.ZodType<Result>;
  /** Null: its answer has no parts. */
  readonly part: z.ZodType<Part> | null;
}

/** How a request ended. `unsent`: it never left. `lost`: it left, and nobody knows what became of it. */
export type Answer<Result, Part> =
  | { readonly end: 'ok'; readonly result: Result; readonly parts: readonly Part[] }
  | { readonly end: 'error' | 'unsent' | 'lost'; readonly error: FairleadError };

interface Waiting {
  readonly parts: unknown[];
  settle(answer: Reply | 'closed'): void;
}

/** One connection: numbers for requests, and replies to whom they belong. */
class Connection {
  readonly #transport: Transport;
  readonly #name: string;
  readonly #decoder = new FrameDecoder();
  /** Everything the other still owes a reply for, given up here or not. */
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #open = true;
  readonly closed: Promise<void>;

  constructor(transport: Transport, name: string) {
    this.#transport = transport;
    this.#name = name;
    this.closed = new Promise((resolve) => {
      transport.onClose(() => {
        this.#open = false;
        for (const waiting of this.#waiting.values()) waiting.settle('closed');
        this.#waiting.clear();
        resolve();
      });
    });
    transport.onData((bytes) => this.#receive(bytes));
  }

  get usable(): boolean {
    return this.#open;
  }

  close(): void {
    this.#transport.close();
  }

  /** Sends the request; gives up after `budgetMs` and a short grace, without forgetting that the other may still be at it. */
  async ask<R, P>(clock: Clock, question: Question<R, P>, budgetMs: number): Promise<Answer<R, P>> {
    if (this.#waiting.size >= MAX_LINK_REQUESTS) {
      const message = `Too many requests wait for ${this.#name}. Try again later.`;
      return { end: 'unsent', error: new FairleadError('resource-exhausted', message) };
    }
    const id = this.#next++;
    const late = new AbortController();
    const parts: unknown[] = [];
    const answered = new Promise<Reply | 'closed'>((resolve) => {
      this.#waiting.set(id, { parts, settle: resolve });
    });
    this.#transport.send(encodeFrame({ id, verb: question.verb, budgetMs, ...question.args }));
    const timeUp = clock.sleep(budgetMs + LINK_REPLY_GRACE_MS, late.signal).then(() => 'late' as const);
    const reply = await Promise.race([answered, timeUp]);
    late.abort(NOT_NEEDED);
    if (reply === 'late') {
      return lost('deadline-exceeded', `${capital(this.#name)} did not answer in time. Try again.`);
    }
    if (reply !== 'closed') return this.#read(question, reply, parts);
    return lost('unavailable', `The connection to ${this.#name} ended before it answered. Try again.`);
  }

  #read<R, P>(question: Question<R, P>, reply: Reply, parts: readonly unknown[]): Answer<R, P> {
    if ('error' in reply) return { end: 'error', error: errorFromBody(reply.error) };
    const result = 'ok' in reply ? question.result.safeParse(reply.ok) : null;
    const { part: form } = question;
    const read = parts.map((part) => form?.safeParse(part) ?? { success: false as const });
    if (result?.success !== true || read.some((part) => !part.success)) {
      // Those who ask of other volumes must not suffer from an answer about this one.
      return lost('internal', `${capital(this.#name)} gave an answer that cannot be understood. Report this.`);
    }
    return { end: 'ok', result: result.data, parts: read.flatMap((part) => (part.success ? [part.data] : [])) };
  }

  #receive(bytes: Uint8Array): void {
    const { values, broken } = this.#decoder.push(bytes);
    for (const value of values) {
      const reply = readReply(value);
      const waiting = reply === null ? undefined : this.#waiting.get(reply.id);
      if (reply === null || waiting === undefined) {
        this.close();
        return;
      }
      if ('part' in reply) {
        waiting.parts.push(reply.part);
      } else {
        this.#waiting.delete(reply.id);
        waiting.settle(reply);
      }
    }
    if (broken !== null) this.close();
  }
}

/** The other as the first word of a sentence. */
function capital(name: string): string {
  return name.replace(/^t/, 'T');
}

function lost(code: ErrorCode, message: string): { readonly end: 'lost'; readonly error: FairleadError } {
  return { end: 'lost', error: new FairleadError(code, message) };
}

/** See the file's head. */
export class Line {
  readonly #ports: LinePorts;
  readonly #other: Other;
  readonly #listeners = new Set<() => void>();
  readonly #ended = new AbortController();
  #connection: Connection | null = null;
  /** Requests that wait for a connection. */
  readonly #wakeUps = new Set<() => void>();

  /** Begins to connect at once, and does not stop trying until {@link close}. */
  constructor(ports: LinePorts, other: Other) {
    this.#ports = ports;
    this.#other = other;
    void this.#keepConnected();
  }

  get connected(): boolean {
    return this.#connection?.usable === true;
  }

  /** Ends the connection for good. What waits for an answer is told that it is lost. */
  close(): void {
    this.#ended.abort();
    this.#connection?.close();
  }

  /** Calls the listener each time a connection has been made, until the returned function is called. */
  onConnect(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** {@link ask}, for questions that change nothing: whatever is no answer is thrown. */
  async read<R, P>(
    question: Question<R, P>,
    budgetMs: number,
  ): Promise<{ readonly result: R; readonly parts: readonly P[] }> {
    const answer = await this.ask(question, budgetMs);
    if (answer.end === 'ok') return answer;
    throw answer.error;
  }

  /** Asks; ends within `budgetMs` and a short grace. */
  async ask<R, P>(question: Question<R, P>, budgetMs: number): Promise<Answer<R, P>> {
    const began = this.#ports.clock.now();
    const connection = await this.#connect(Math.min(budgetMs, LINK_PATIENCE_MS));
    const left = Math.min(Math.floor(budgetMs - (this.#ports.clock.now() - began)), MAX_DEADLINE_MS);
    const { name } = this.#other;
    if (connection === null || left < 1) {
      const error = new FairleadError(
        connection === null ? 'unavailable' : 'deadline-exceeded',
        connection === null
          ? `${capital(name)} does not run, or cannot be reached. Start it (fairlead doctor says how), then try again.`
          : `There was no time left to ask ${name}. Try again with a later deadline.`,
      );
      return { end: 'unsent', error };
    }
    return connection.ask(this.#ports.clock, question, left);
  }

  /** The connection, waited for at most `patienceMs`; null if there is none by then. */
  async #connect(patienceMs: number): Promise<Connection | null> {
    if (this.#connection?.usable !== true && !this.#ended.signal.aborted) {
      const connected = new AbortController();
      const wakeUp = (): void => connected.abort();
      this.#wakeUps.add(wakeUp);
      await this.#ports.clock.sleep(patienceMs, connected.signal);
      this.#wakeUps.delete(wakeUp);
    }
    return this.#connection?.usable === true ? this.#connection : null;
  }

  async #keepConnected(): Promise<void> {
    let pause = LINK_PAUSE_FIRST_MS;
    while (!this.#ended.signal.aborted) {
      const connection = await this.#open();
      if (connection !== null) {
        pause = LINK_PAUSE_FIRST_MS;
        this.#connection = connection;
        this.#wake();
        for (const listener of this.#listeners) listener();
        await connection.closed;
        this.#connection = null;
      }
      await this.#ports.clock.sleep(pause, this.#ended.signal);
      pause = Math.min(pause * 2, LINK_PAUSE_LAST_MS);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wakeUp of this.#wakeUps) wakeUp();
  }

  /** One connection that has said hello; null when there is nobody, or somebody of another version. */
  async #open(): Promise<Connection | null> {
    let transport: Transport;
    try {
      transport = await this.#ports.dial();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return null;
    }
    const { name, version, hello: result } = this.#other;
    const connection = new Connection(transport, name);
    if (this.#ended.signal.aborted) connection.close();
    const hello = await connection.ask(
      this.#ports.clock,
      { verb: 'hello', args: { version }, result, part: null },
      LINK_HELLO_MS,
    );
    if (hello.end === 'ok' && hello.result.version === version && connection.usable) return connection;
    connection.close();
    return null;
  }
}
