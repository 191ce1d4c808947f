// The agent's side of the broker: what the engine sees as `Broker`. It keeps one connection, asks many things at once on
// it, and never waits longer than it was told to. What comes in is the broker's bytes; they are checked like a
// stranger's. No decision about mounts is made here.

import type { Broker, DiskFacts, Finding, Inventory } from '../core/broker-api.js';
import type { Clock } from '../core/clock.js';
import { errorBody, errorFromBody, FairleadError } from '../core/errors.js';
import {
  BROKER_HELLO_MS,
  BROKER_PATIENCE_MS,
  BROKER_PAUSE_FIRST_MS,
  BROKER_PAUSE_LAST_MS,
  BROKER_REPLY_GRACE_MS,
  MAX_BROKER_REQUESTS,
  MAX_DEADLINE_MS,
} from '../core/limits.js';
import type { DiskName } from '../core/names.js';
import type { Holder, InventoryItem, Observation } from '../core/observation.js';
import type { StepEnd, StepKind } from '../core/steps.js';
import type { Access } from '../core/verdict.js';
import type { Leaf, Volume } from '../core/volume.js';
import {
  encodeFrame,
  FrameDecoder,
  type InventoryPart,
  PARTS,
  PROTOCOL_VERSION,
  readReply,
  type Reply,
  type RequestOf,
  RESULTS,
  type ResultOf,
  type Transport,
  type VerbName,
} from './protocol.js';

/** What the client needs from outside. */
export interface ClientPorts {
  readonly clock: Clock;
  /** One attempt to reach the broker's socket; rejects when nobody listens. */
  dial(): Promise<Transport>;
}

/** The arguments of a verb, without what the client adds. */
type Arguments<V extends VerbName> = Omit<RequestOf<V>, 'id' | 'verb' | 'budgetMs'>;

/** How a request ended. `unsent`: it never left. `lost`: it left, and nobody knows what became of it. */
type Answer<V extends VerbName> =
  | { readonly end: 'ok'; readonly result: ResultOf<V>; readonly parts: readonly InventoryPart[] }
  | { readonly end: 'error' | 'unsent' | 'lost'; readonly error: FairleadError };

interface Waiting {
  readonly parts: unknown[];
  settle(answer: Reply | 'closed'): void;
}

const lost = (): FairleadError =>
  new FairleadError('unavailable', 'The connection to the broker ended before it answered. Try again.');

/** One connection: numbers for requests, and replies to whom they belong. */
class Link {
  readonly #transport: Transport;
  readonly #decoder = new FrameDecoder();
  /** Everything the broker still owes a reply for, given up here or not. */
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #open = true;
  readonly closed: Promise<void>;

  constructor(transport: Transport) {
    this.#transport = transport;
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

  /** Sends the request; gives up after `budgetMs` and a short grace, without forgetting that the broker may still be at it. */
  async ask<V extends VerbName>(clock: Clock, verb: V, args: Arguments<V>, budgetMs: number): Promise<Answer<V>> {
    if (this.#waiting.size >= MAX_BROKER_REQUESTS) {
      const error = new FairleadError('resource-exhausted', 'Too many requests wait for the broker. Try again later.');
      return { end: 'unsent', error };
    }
    const id = this.#next++;
    const late = new AbortController();
    const parts: unknown[] = [];
    const answered = new Promise<Reply | 'closed'>((resolve) => {
      this.#waiting.set(id, { parts, settle: resolve });
    });
    this.#transport.send(encodeFrame({ id, verb, budgetMs, ...args }));
    const timeUp = clock.sleep(budgetMs + BROKER_REPLY_GRACE_MS, late.signal).then(() => 'late' as const);
    const reply = await Promise.race([answered, timeUp]);
    late.abort();
    if (reply === 'late') {
      const error = new FairleadError('deadline-exceeded', 'The broker did not answer in time. Try again.');
      return { end: 'lost', error };
    }
    if (reply === 'closed') return { end: 'lost', error: lost() };
    return this.#read(verb, reply, parts);
  }

  #read<V extends VerbName>(verb: V, reply: Reply, parts: readonly unknown[]): Answer<V> {
    if ('error' in reply) return { end: 'error', error: errorFromBody(reply.error) };
    const result = 'ok' in reply ? RESULTS[verb].safeParse(reply.ok) : null;
    const read = parts.map((part) => PARTS.inventory.safeParse(part));
    if (result?.success !== true || (verb !== 'inventory' && read.length > 0) || read.some((part) => !part.success)) {
      this.close();
      return { end: 'lost', error: lost() };
    }
    return {
      end: 'ok',
      result: result.data as ResultOf<V>,
      parts: read.flatMap((part) => (part.success ? [part.data] : [])),
    };
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

/** The broker over a connection that is made again whenever it is lost. */
export class BrokerClient implements Broker {
  readonly #ports: ClientPorts;
  readonly #listeners = new Set<() => void>();
  readonly #ended = new AbortController();
  #link: Link | null = null;
  /** Requests that wait for a connection. */
  readonly #wakeUps = new Set<() => void>();

  /** Begins to connect at once, and does not stop trying until {@link close}. */
  constructor(ports: ClientPorts) {
    this.#ports = ports;
    void this.#keepConnected();
  }

  get connected(): boolean {
    return this.#link?.usable === true;
  }

  /** Ends the connection for good. What waits for an answer is told that it is lost. */
  close(): void {
    this.#ended.abort();
    this.#link?.close();
  }

  onConnect(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async observe(
    volume: Volume,
    options: { readonly probe: Access | null; readonly budgetMs: number },
  ): Promise<Observation> {
    return (await this.#read('observe', { volume: volume.url, probe: options.probe }, options.budgetMs)).result;
  }

  async step(volume: Volume, kind: StepKind, budgetMs: number): Promise<StepEnd> {
    const answer = await this.#ask('step', { volume: volume.url, kind }, budgetMs);
    switch (answer.end) {
      case 'ok':
        return answer.result;
      case 'unsent':
        return { end: 'refused', error: errorBody(answer.error) };
      case 'error':
        // The broker refuses before it begins; only a failure that it does not know itself leaves the effect open.
        return { end: answer.error.code === 'internal' ? 'unknown' : 'refused', error: errorBody(answer.error) };
      case 'lost':
        return { end: 'unknown', error: errorBody(answer.error) };
    }
  }

  async settle(volume: Volume, budgetMs: number): Promise<'settled' | 'acting'> {
    return (await this.#read('settle', { volume: volume.url }, budgetMs)).result;
  }

  async disk(volume: Volume, name: DiskName, budgetMs: number): Promise<DiskFacts> {
    return (await this.#read('disk', { volume: volume.url, name }, budgetMs)).result;
  }

  async holders(volume: Volume, budgetMs: number): Promise<readonly Holder[]> {
    return (await this.#read('holders', { volume: volume.url }, budgetMs)).result;
  }

  async inventory(budgetMs: number): Promise<Inventory> {
    const { result, parts } = await this.#read('inventory', {}, budgetMs);
    const items: InventoryItem[] = parts.flatMap((part) => part.items);
    const units: Leaf[] = parts.flatMap((part) => part.units);
    return { bootId: result.bootId, items, units };
  }

  async examine(budgetMs: number): Promise<readonly Finding[]> {
    return (await this.#read('examine', {}, budgetMs)).result;
  }

  async #read<V extends VerbName>(
    verb: V,
    args: Arguments<V>,
    budgetMs: number,
  ): Promise<Extract<Answer<V>, { end: 'ok' }>> {
    const answer = await this.#ask(verb, args, budgetMs);
    if (answer.end === 'ok') return answer;
    throw answer.error;
  }

  async #ask<V extends VerbName>(verb: V, args: Arguments<V>, budgetMs: number): Promise<Answer<V>> {
    const began = this.#ports.clock.now();
    const link = await this.#connection(Math.min(budgetMs, BROKER_PATIENCE_MS));
    const left = Math.min(Math.floor(budgetMs - (this.#ports.clock.now() - began)), MAX_DEADLINE_MS);
    if (link === null || left < 1) {
      const error = new FairleadError(
        link === null ? 'unavailable' : 'deadline-exceeded',
        link === null
          ? 'There is no broker to carry this out. Start it (fairlead doctor says how), then try again.'
          : 'There was no time left to ask the broker. Try again with a later deadline.',
      );
      return { end: 'unsent', error };
    }
    return link.ask(this.#ports.clock, verb, args, left);
  }

  /** The connection, waited for at most `patienceMs`; null if there is none by then. */
  async #connection(patienceMs: number): Promise<Link | null> {
    if (this.#link?.usable !== true && !this.#ended.signal.aborted) {
      const connected = new AbortController();
      const wakeUp = (): void => connected.abort();
      this.#wakeUps.add(wakeUp);
      await this.#ports.clock.sleep(patienceMs, connected.signal);
      this.#wakeUps.delete(wakeUp);
    }
    return this.#link?.usable === true ? this.#link : null;
  }

  async #keepConnected(): Promise<void> {
    let pause = BROKER_PAUSE_FIRST_MS;
    while (!this.#ended.signal.aborted) {
      const link = await this.#open();
      if (link !== null) {
        pause = BROKER_PAUSE_FIRST_MS;
        this.#link = link;
        this.#wake();
        for (const listener of this.#listeners) listener();
        await link.closed;
        this.#link = null;
      }
      await this.#ports.clock.sleep(pause, this.#ended.signal);
      pause = Math.min(pause * 2, BROKER_PAUSE_LAST_MS);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wakeUp of this.#wakeUps) wakeUp();
  }

  /** One connection that has said hello; null when there is no broker, or one of another version. */
  async #open(): Promise<Link | null> {
    let transport: Transport;
    try {
      transport = await this.#ports.dial();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return null;
    }
    const link = new Link(transport);
    if (this.#ended.signal.aborted) link.close();
    const hello = await link.ask(this.#ports.clock, 'hello', { version: PROTOCOL_VERSION }, BROKER_HELLO_MS);
    if (hello.end === 'ok' && hello.result.version === PROTOCOL_VERSION && link.usable) return link;
    link.close();
    return null;
  }
}
