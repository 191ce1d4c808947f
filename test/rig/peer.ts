// Somebody who speaks to the broker's socket by himself: the agent's user after it has been taken over. It knows the
// protocol from its description (src/link/forms.ts, src/broker/protocol.ts) and shares no code with either side.

import type { Socket } from 'node:net';
import { dial } from './client.js';
import type { Identity } from './identity.js';
import { until } from './until.js';

/** A reply of the broker. */
export interface PeerReply {
  readonly id: number;
  readonly ok?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** The frame of a text. */
export function frame(text: string): Buffer {
  const body = Buffer.from(text);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

/** One connection to the broker. */
export class Peer {
  readonly #socket: Socket;
  readonly #replies = new Map<number, PeerReply>();
  #bytes = Buffer.alloc(0);
  #received = 0;
  #closed = false;
  #next = 1;

  constructor(path: string, who: Identity) {
    this.#socket = dial(path, who);
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#closed = true;
    });
    this.#socket.on('data', (part: Buffer) => {
      this.#received += part.length;
      this.#bytes = Buffer.concat([this.#bytes, part]);
      while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE()) {
        const length = this.#bytes.readUInt32BE();
        const reply = JSON.parse(this.#bytes.subarray(4, 4 + length).toString()) as PeerReply;
        this.#bytes = this.#bytes.subarray(4 + length);
        // Parts come before the reply that they belong to.
        if (!('part' in reply)) this.#replies.set(reply.id, reply);
      }
    });
  }

  /** Bytes that the broker has said. */
  get received(): number {
    return this.#received;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends bytes as they are. */
  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Says hello, as the protocol wants. */
  async greet(): Promise<this> {
    const { ok } = await this.ask('hello', { version: 1 });
    if (ok === undefined) throw new Error('the broker did not greet back');
    return this;
  }

  /** Sends a request and waits for its reply. */
  async ask(verb: string, more: object, budgetMs = 5000): Promise<PeerReply> {
    const id = this.#next++;
    this.send(frame(JSON.stringify({ id, verb, budgetMs, ...more })));
    return until(
      `a reply to ${verb}`,
      () => {
        if (this.#closed) throw new Error(`the broker hung up on ${verb}`);
        return this.#replies.get(id);
      },
      budgetMs + 2000,
    );
  }

  /** How a step ended: `done`, or the code of its error. */
  async step(volume: string, kind: string, budgetMs = 5000): Promise<string> {
    const { ok, error } = await this.ask('step', { volume, kind }, budgetMs);
    if (error !== undefined) return error.code;
    const ended = ok as { readonly end: string; readonly error?: { readonly code: string } };
    return ended.error?.code ?? ended.end;
  }

  /** Waits until the broker has hung up. */
  async hungUp(): Promise<void> {
    await until('the broker hangs up', () => this.#closed);
  }

  close(): void {
    this.#socket.destroy();
  }
}
