// A client of the agent's HTTP door without the command line in between: hundreds of requests at once, as any user, cut
// off in the middle, or no HTTP at all.

import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { as, type Identity } from './identity.js';

/** What the door answered. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** The code of the body's error, if it is one. */
  readonly code: string | undefined;
}

const ROOT: Identity = { uid: 0, gid: 0 };

/** A connection to a unix socket, made as somebody. */
export function dial(path: string, who: Identity = ROOT): Socket {
  // connect(2) happens before `connect` returns.
  return who === ROOT ? connect({ path }) : as(who, () => connect({ path }));
}

/** A client that keeps its connections. */
export class Client {
  readonly #path: string;
  readonly #connections: Agent;

  constructor(path: string, who: Identity = ROOT) {
    this.#path = path;
    this.#connections = new (class extends Agent {
      override createConnection(): Duplex {
        return dial(path, who);
      }
    })({ keepAlive: true });
  }

  /** One request. Rejects only when there was no answer. */
  ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object, signal?: AbortSignal): Promise<HttpAnswer> {
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#path,
          agent: this.#connections,
          method,
          path,
          ...(signal === undefined ? {} : { signal }),
          headers: bytes === null ? {} : { 'content-type': 'application/json', 'content-length': bytes.length },
        },
        (incoming) => {
          const parts: Buffer[] = [];
          incoming.on('data', (part: Buffer) => parts.push(part));
          incoming.on('error', reject);
          incoming.on('end', () => {
            resolve(answerOf(incoming.statusCode ?? 0, Buffer.concat(parts).toString()));
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(bytes ?? undefined);
    });
  }

  connect(url: string, consumer: string, more: object = {}): Promise<HttpAnswer> {
    return this.ask('POST', '/v1/connect', { url, consumer, ...more });
  }

  disconnect(url: string, consumer: string, more: object = {}): Promise<HttpAnswer> {
    return this.ask('POST', '/v1/disconnect', { url, consumer, ...more });
  }

  list(): Promise<HttpAnswer> {
    return this.ask('GET', '/v1/mounts');
  }

  close(): void {
    this.#connections.destroy();
  }
}

/** Sends these bytes and nothing else, and returns the answers that came until the door hung up. */
export function exchange(path: string, bytes: string | Buffer): Promise<readonly HttpAnswer[]> {
  return new Promise((resolve, reject) => {
    const socket = dial(path);
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', (error: Error & { readonly code?: string }) => {
      // The door does not read to the end what it has refused already.
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') reject(error);
    });
    socket.on('close', () => {
      resolve(readAnswers(Buffer.concat(parts).toString()));
    });
    socket.write(bytes);
  });
}

/** The answers in what a door has written, one after the other. */
export function readAnswers(text: string): readonly HttpAnswer[] {
  const answers: HttpAnswer[] = [];
  for (let rest = text; rest !== '';) {
    const head = /^HTTP\/1\.1 (\d{3})[^]*?\r\n\r\n/.exec(rest);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head?.[0] ?? '')?.[1]);
    if (head === null || Number.isNaN(length)) throw new Error(`no HTTP answer: ${rest.slice(0, 200)}`);
    const bytes = Buffer.from(rest.slice(head[0].length));
    answers.push(answerOf(Number(head[1]), bytes.subarray(0, length).toString()));
    rest = bytes.subarray(length).toString();
  }
  return answers;
}

function answerOf(status: number, text: string): HttpAnswer {
  const body = JSON.parse(text) as HttpAnswer['body'];
  return { status, body, code: (body['error'] as { readonly code?: string } | undefined)?.code };
}
