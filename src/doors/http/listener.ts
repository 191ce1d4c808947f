// The agent's socket: who may have a connection, how many, and what becomes of those who may not. Everything that is decided here is
// decided before a byte is read; HTTP is read from those who may, one request at a time.

import { createServer as createHttpServer, type RequestListener, type Server as HttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import {
  HTTP_CONNECTIONS,
  HTTP_REQUEST_TIMEOUT_MS,
  MAX_HTTP_HEADER_BYTES,
  MAX_HTTP_UNREAD_BYTES,
} from '../../core/limits.js';
import type { Log } from '../../sys/log.js';
import { listenAt, peerOf, restrictConnecting, type KeptSocket } from '../../sys/sockets.js';
import { mayUse, type AccessRule } from './access.js';
import { answerRaw, answerUnasked, rawAnswer, stranger, tooMany, wrongMethod } from './errors.js';
import { Floods, type Shut } from './floods.js';
import { Paced, type Shared } from './paced.js';
import { Places } from './places.js';
import { Refusals } from './refusals.js';
import { Turns } from './turns.js';
import { Unread } from './unread.js';

/** How often a connection is looked at for being too slow, milliseconds. */
const SLOWNESS_CHECK_MS = 500;

/** What reads HTTP from connections that are handed to it; it listens nowhere. */
export function createParser(handle: RequestListener): HttpServer {
  const server = createHttpServer({
    requestTimeout: HTTP_REQUEST_TIMEOUT_MS,
    headersTimeout: HTTP_REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: SLOWNESS_CHECK_MS,
    maxHeaderSize: MAX_HTTP_HEADER_BYTES,
    // It would be refused in another form than every other request.
    requireHostHeader: false,
  });
  const answer: RequestListener = (request, response) => {
    if ((request.socket as unknown as Paced).begin(request, response)) handle(request, response);
    else answerUnasked(response);
  };
  server.on('request', answer);
  // What somebody expects beyond an answer makes no difference (RFC 9110, 10.1.1).
  server.on('checkExpectation', answer);
  server.on('connect', (_, connection) => {
    answerRaw(connection, wrongMethod('GET, POST, DELETE'));
  });
  // Node begins to look for slow clients when its server listens, which this one never does.
  server.emit('listening');
  return server;
}

/** Connections: who may have one, and what becomes of the others. */
export class Listener {
  readonly #server = createServer({ allowHalfOpen: true });
  readonly #parser: HttpServer;
  readonly #access: AccessRule;
  readonly #log: Log;
  readonly #places = new Places(HTTP_CONNECTIONS);
  readonly #shared: Shared = { turns: new Turns(), unread: new Unread(MAX_HTTP_UNREAD_BYTES) };
  readonly #refusals = new Refusals();
  readonly #connections = new Set<Paced>();
  #floods: Floods | null = null;
  #kept: KeptSocket | null = null;

  constructor(parser: HttpServer, access: AccessRule, log: Log) {
    this.#parser = parser;
    this.#access = access;
    this.#log = log;
    this.#server.on('connection', (socket) => {
      this.#accept(socket);
    });
  }

  async open(path: string): Promise<void> {
    const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
    this.#kept = await listenAt(this.#server, path, { mode: 0o666, uid, gid }, this.#log);
    this.#floods = new Floods((shut) => {
      this.#restrict(path, shut);
    });
    this.#server.on('error', (error) => {
      this.#log.warn('socket-failed', { error });
    });
  }

  async close(graceMs: number): Promise<void> {
    this.#kept?.letGo();
    this.#floods?.end();
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    this.#refusals.end();
    this.#parser.closeIdleConnections();
    const patience = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy();
    }, graceMs);
    await closed;
    clearTimeout(patience);
    this.#parser.close();
  }

  #accept(socket: Socket): void {
    const peer = peerOf(socket);
    if (peer === null || !mayUse(peer, this.#access)) {
      this.#floods?.stranger();
      this.#refusals.refuse(socket, rawAnswer(stranger()));
      return;
    }
    const { uid } = peer;
    const leave = this.#places.take(uid);
    if (leave === null) {
      this.#vain(uid);
      this.#refusals.refuse(socket, rawAnswer(tooMany('connections')));
      return;
    }
    const connection = new Paced(socket, uid, this.#shared);
    this.#connections.add(connection);
    connection.once('close', () => {
      this.#connections.delete(connection);
      leave();
      if (connection.requests === 0) this.#vain(uid);
    });
    this.#parser.emit('connection', connection);
  }

  #vain(uid: number): void {
    if (uid !== 0 && uid !== this.#access.agentUid) this.#floods?.vain(uid);
  }

  #restrict(path: string, { strangers, users }: Shut): void {
    const { allowedUids, allowedGids } = this.#access;
    try {
      restrictConnecting(path, strangers ? { uids: allowedUids, gids: allowedGids } : null, users);
      this.#log.warn('socket-restricted', { strangers, uids: users });
    } catch (error) {
      this.#log.warn('socket-not-restricted', { error });
    }
  }
}
