// One connection, from its first byte to its last: bytes become frames, frames become requests, requests become calls of
// the table's handlers. What is not exactly as the protocol says ends the connection; there is no second chance and no
// explanation, since a peer that speaks otherwise is not our agent.

import { errorBody, FairleadError } from '../core/errors.js';
import { MAX_BROKER_REQUESTS } from '../core/limits.js';
import type { Context } from './context.js';
import { Deadline } from './deadline.js';
import { encodeFrame, FrameDecoder, readRequestHead, type Transport, type VerbName } from './protocol.js';
import { type Caller, VERBS } from './verbs.js';

/** Who is at the other end (SO_PEERCRED, unix(7)). */
export interface Peer {
  readonly uid: number;
  readonly pid: number;
}

/** Serves a connection until it ends. */
export function serve(context: Context, peer: Peer, transport: Transport): void {
  const caller = callerOf(context, peer);
  if (caller === null) {
    context.log.warn('peer-refused', { uid: peer.uid, pid: peer.pid });
    transport.close();
    return;
  }
  new Session(context, caller, transport).open();
}

function callerOf(context: Context, peer: Peer): Caller | null {
  if (peer.uid === 0) return 'root';
  return peer.uid === context.settings.agentUid ? 'agent' : null;
}

class Session {
  readonly #context: Context;
  readonly #caller: Caller;
  readonly #transport: Transport;
  readonly #decoder = new FrameDecoder();
  readonly #inFlight = new Set<number>();
  #greeted = false;
  #open = true;

  constructor(context: Context, caller: Caller, transport: Transport) {
    this.#context = context;
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
    const head = readRequestHead(value);
    const fault = head === null ? 'an unknown verb' : this.#faultOf(head);
    if (head === null || fault !== null) {
      this.#end(fault ?? '');
      return;
    }
    this.#greeted = true;
    this.#call(head.verb, head.id, value);
  }

  /** What is wrong with a request before its arguments are looked at; null if nothing is. */
  #faultOf({ id, verb }: { readonly id: number; readonly verb: VerbName }): string | null {
    if ((verb === 'hello') === this.#greeted) return 'hello at the wrong time';
    if (this.#inFlight.has(id)) return 'a number in use';
    if (this.#inFlight.size >= MAX_BROKER_REQUESTS) return 'too many requests';
    return VERBS[verb].callers.includes(this.#caller) ? null : 'a verb that is not for this caller';
  }

  #call(verb: VerbName, id: number, value: unknown): void {
    const request = VERBS[verb].accept(value);
    if (request === null) {
      this.#end('arguments outside the schema');
      return;
    }
    this.#inFlight.add(id);
    const deadline = new Deadline(this.#context.machine.clock, request.budgetMs);
    const emit = (part: object): void => this.#send({ id, part });
    const work = request.run({ context: this.#context, deadline, emit });
    void work.then(
      (result) => this.#reply(id, { id, ok: result }),
      (error: unknown) => {
        if (!(error instanceof FairleadError)) this.#context.log.warn('verb-failed', { verb, error });
        this.#reply(id, { id, error: errorBody(error) });
      },
    );
  }

  #reply(id: number, reply: object): void {
    this.#send(reply);
    this.#inFlight.delete(id);
  }

  #send(frame: object): void {
    if (!this.#open) return;
    let bytes: Uint8Array;
    try {
      bytes = encodeFrame(frame);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#end('a reply larger than a frame');
      return;
    }
    this.#transport.send(bytes);
  }

  #end(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#context.log.warn('connection-ended', { why, caller: this.#caller });
    this.#transport.close();
  }
}
