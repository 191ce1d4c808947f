// The serving half of a conversation, from its first byte to its last: bytes become frames, frames become requests, requests
// become calls of a table's handlers. What is not exactly as the protocol says ends the connection; there is no second chance
// and no explanation, since a peer that speaks otherwise is not our agent.

import type { z } from 'zod';
import type { Clock } from '../core/clock.js';
import { Deadline } from '../core/deadline.js';
import { errorBody, FairleadError } from '../core/errors.js';
import { encodeFrame, FrameDecoder, type Transport } from '../core/frames.js';
import { MAX_LINK_REQUESTS } from '../core/limits.js';
import { readRequestHead } from './forms.js';

/** Who may call: the agent's user, or root. Nobody else gets as far as a request. */
export type Caller = 'agent' | 'root';

/** Who is at the other end (SO_PEERCRED, unix(7)). */
export interface Peer {
  readonly uid: number;
  readonly pid: number;
}

/** One request at work. */
export interface Call<Context> {
  readonly context: Context;
  readonly deadline: Deadline;
  /** Sends a part ahead of the result; only verbs with parts do. */
  readonly emit: (part: object) => void;
}

/** A request whose arguments are as they should be. */
export interface Accepted<Context> {
  readonly budgetMs: number;
  /** Carries it out; resolves to the result as the protocol has it. */
  run(call: Call<Context>): Promise<unknown>;
}

/** One line of a table. */
export interface Verb<Context> {
  readonly callers: readonly Caller[];
  /** The request, or null if it is outside the schema. */
  accept(value: unknown): Accepted<Context> | null;
  /** Why a privileged process does this, and what bounds it. */
  readonly reason: string;
}

/** A line from its parts. The handler throws FairleadErrors; anything else it throws becomes `internal`. */
export function verb<Context, Request extends { readonly budgetMs: number }>(line: {
  readonly callers: readonly Caller[];
  readonly schema: z.ZodType<Request>;
  readonly handler: (call: Call<Context>, request: Request) => Promise<unknown>;
  readonly reason: string;
}): Verb<Context> {
  return {
    callers: line.callers,
    reason: line.reason,
    accept(value) {
      const { success, data } = line.schema.safeParse(value);
      // A handler that throws before its first await ends like one that throws later.
      return success ? { budgetMs: data.budgetMs, run: async (call) => line.handler(call, data) } : null;
    },
  };
}

/** Events for the log. Fields never hold an export, a URL or a helper's output. */
export interface SessionLog {
  warn(event: string, fields: Readonly<Record<string, unknown>>): void;
}

/** What a process serves. The verb `hello` must be in its table: it comes first, and once. */
export interface Service<Context> {
  readonly verbs: Readonly<Record<string, Verb<Context>>>;
  readonly context: Context;
  /** The only user, besides root, that may connect. */
  readonly agentUid: number;
  readonly clock: Clock;
  readonly log: SessionLog;
}

/** Serves a connection until it ends. */
export function serve<Context>(service: Service<Context>, peer: Peer, transport: Transport): void {
  const caller = callerOf(service.agentUid, peer);
  if (caller === null) {
    service.log.warn('peer-refused', { uid: peer.uid, pid: peer.pid });
    transport.close();
    return;
  }
  new Session(service, caller, transport).open();
}

function callerOf(agentUid: number, peer: Peer): Caller | null {
  if (peer.uid === 0) return 'root';
  return peer.uid === agentUid ? 'agent' : null;
}

function tooLarge(): FairleadError {
  return new FairleadError('resource-exhausted', 'The answer is larger than a frame. Ask for less.');
}

class Session<Context> {
  readonly #service: Service<Context>;
  readonly #caller: Caller;
  readonly #transport: Transport;
  readonly #decoder = new FrameDecoder();
  readonly #inFlight = new Set<number>();
  #greeted = false;
  #open = true;

  constructor(service: Service<Context>, caller: Caller, transport: Transport) {
    this.#service = service;
    this.#caller = caller;
    this.#transport = transport;
  }

  open(): void {
    this.#transport.onClose(() => {
      this.#open = false;
    });
    this.#transport.onData((bytes) => {
      const { values, broken } = this.#decoder.push(bytes);
      for (const value of values) if (this.#open) this.#receive(value);
      if (broken !== null) this.#end(broken);
    });
  }

  #receive(value: unknown): void {
    const head = readRequestHead(this.#service.verbs, value);
    const line = head === null ? undefined : this.#service.verbs[head.verb];
    if (head === null || line === undefined) {
      this.#end('an unknown verb');
      return;
    }
    const fault = this.#faultOf(head, line);
    if (fault !== null) {
      this.#end(fault);
      return;
    }
    this.#greeted = true;
    this.#call(head, line, value);
  }

  /** What is wrong with a request before its arguments are looked at; null if nothing is. */
  #faultOf({ id, verb: name }: { readonly id: number; readonly verb: string }, line: Verb<Context>): string | null {
    if ((name === 'hello') === this.#greeted) return 'hello at the wrong time';
    if (this.#inFlight.has(id)) return 'a number in use';
    if (this.#inFlight.size >= MAX_LINK_REQUESTS) return 'too many requests';
    return line.callers.includes(this.#caller) ? null : 'a verb that is not for this caller';
  }

  #call({ id, verb: name }: { readonly id: number; readonly verb: string }, line: Verb<Context>, value: unknown): void {
    const request = line.accept(value);
    if (request === null) {
      this.#end('arguments outside the schema');
      return;
    }
    this.#inFlight.add(id);
    const { clock, context, log } = this.#service;
    const deadline = new Deadline(clock, request.budgetMs);
    const emit = (part: object): void => {
      if (!this.#send({ id, part })) throw tooLarge();
    };
    void request.run({ context, deadline, emit }).then(
      (result) => this.#reply(id, { id, ok: result }),
      (error: unknown) => {
        if (!(error instanceof FairleadError)) log.warn('verb-failed', { verb: name, error });
        this.#reply(id, { id, error: errorBody(error) });
      },
    );
  }

  #reply(id: number, reply: object): void {
    if (!this.#send(reply)) this.#send({ id, error: errorBody(tooLarge()) });
    this.#inFlight.delete(id);
  }

  /** False: it does not fit into a frame. That concerns only who has asked, so the connection goes on. */
  #send(frame: object): boolean {
    if (!this.#open) return true;
    let bytes: Uint8Array;
    try {
      bytes = encodeFrame(frame);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#service.log.warn('reply-too-large', { caller: this.#caller });
      return false;
    }
    this.#transport.send(bytes);
    return true;
  }

  #end(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#service.log.warn('connection-ended', { why, caller: this.#caller });
    this.#transport.close();
  }
}
