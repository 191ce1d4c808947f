// The HTTP door: JSON over the agent's unix socket. It reads what strangers write, says who may ask, and translates to the
// engine and back. It decides nothing about mounts. Every refusal, of whatever layer, is a typed error in one form.

import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { fastify, type FastifyReply, type FastifyRequest } from 'fastify';
import { ERROR_CODES, errorBody, FairleadError } from '../../core/errors.js';
import {
  HTTP_REQUEST_TIMEOUT_MS,
  MAX_BODY_BYTES,
  MAX_DEADLINE_MS,
  MAX_HTTP_CONNECTIONS,
  MAX_HTTP_REQUESTS,
} from '../../core/limits.js';
import { parseDecimal } from '../../core/numbers.js';
import { refusal } from '../../core/text.js';
import type { Log } from '../../sys/log.js';
import { listenAt, peerOf, type KeptSocket } from '../../sys/sockets.js';
import { mayUse, type AccessRule } from './access.js';
import { checkBody, parseJson } from './body.js';
import { openApi } from './openapi.js';
import type { House, Route } from '../route.js';

/** What the door needs. */
export interface HttpDoorPorts {
  /** Everything that can be asked. */
  readonly routes: readonly Route[];
  readonly access: AccessRule;
  readonly log: Log;
  /** Version of this program. */
  readonly version: string;
}

/** A door that can be opened and closed. */
export interface HttpDoor {
  /**
   * Listens at the path. Everybody may connect (0666), so that a stranger gets an answer that can be read.
   */
  open(path: string, house: House): Promise<void>;
  /** Takes no new connection and waits at most `graceMs` for the answers in progress. */
  close(graceMs: number): Promise<void>;
}

/** How often a connection is looked at for being too slow, milliseconds. */
const SLOWNESS_CHECK_MS = 500;
/** Connections beyond the limit that are still told so, before they are dropped unheard. */
const SPARE_CONNECTIONS = 64;
/** Milliseconds an idle connection is kept for its next request. */
const IDLE_MS = 60_000;
const MAX_HEADER_BYTES = 16_384;

/** Makes the door, and loads all of its code: later the process may not be allowed to read it any more. */
export async function createHttpDoor(ports: HttpDoorPorts): Promise<HttpDoor> {
  const allowed = new WeakMap<Socket, boolean>();
  const connections = new Set<Socket>();
  let server: Server | undefined;
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    serverFactory: (handle) => {
      server = createServer(
        {
          requestTimeout: HTTP_REQUEST_TIMEOUT_MS,
          headersTimeout: HTTP_REQUEST_TIMEOUT_MS,
          connectionsCheckingInterval: SLOWNESS_CHECK_MS,
          keepAliveTimeout: IDLE_MS,
          maxHeaderSize: MAX_HEADER_BYTES,
        },
        handle,
      );
      return server;
    },
    frameworkErrors: (error, _, reply) => {
      void answerError(ports.log, reply, error);
    },
    clientErrorHandler: (error, socket) => answerRaw(socket, malformed(error)),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, bytes, done) => {
    try {
      done(null, parseJson(bytes as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('onRequest', (request, _, done) => {
    if (allowed.get(request.raw.socket) === true) done();
    else done(stranger());
  });
  app.setErrorHandler((error, _, reply) => answerError(ports.log, reply, error));
  app.setNotFoundHandler((_, reply) => {
    const error = new FairleadError('not-found', 'There is no such request here; see GET /v1/openapi.json.', {
      field: 'path',
    });
    return answerError(ports.log, reply, error);
  });
  let house: House | undefined;
  let kept: KeptSocket | undefined;
  const gate = new Gate();
  for (const route of ports.routes) {
    app.route({
      method: route.method,
      url: route.path.replace('{leaf}', ':leaf'),
      handler: (request, reply) => gate.pass(() => serve(route, request, reply, house)),
    });
  }
  const document = openApi(ports.version, ports.routes);
  app.get('/v1/openapi.json', () => document);
  await app.ready();
  if (server === undefined) throw new Error('fastify made no server');
  const listening = server;
  listening.maxConnections = MAX_HTTP_CONNECTIONS + SPARE_CONNECTIONS;
  listening.on('connection', (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    if (connections.size > MAX_HTTP_CONNECTIONS) answerRaw(socket, tooMany('connections'));
    else allowed.set(socket, mayUse(peerOf(socket), ports.access));
  });
  return {
    open: async (path, behind) => {
      house = behind;
      const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
      kept = await listenAt(listening, path, { mode: 0o666, uid, gid }, ports.log);
    },
    close: (graceMs) => {
      kept?.letGo();
      return close(listening, connections, graceMs);
    },
  };
}

/** Counts the requests in progress and refuses those beyond the limit. */
class Gate {
  #inside = 0;

  async pass(work: () => unknown): Promise<unknown> {
    if (this.#inside >= MAX_HTTP_REQUESTS) throw tooMany('requests');
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
    }
  }
}

function serve(route: Route, request: FastifyRequest, reply: FastifyReply, house: House | undefined): unknown {
  if (house === undefined) throw new Error('the door is not open');
  if (route.body !== null && request.body === undefined) {
    throw new FairleadError('invalid-argument', 'body must be a JSON object.', { field: 'body' });
  }
  const body = route.body === null ? undefined : checkBody(route.body, request.body);
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  const leaf = (request.params as { readonly leaf?: string }).leaf ?? '';
  const deadlineMs = (route.body === null ? askedDeadline(request.query) : null) ?? route.deadlineMs(body);
  const flags = askedFlags(route, request.query);
  return route.answer({ body, leaf, flags }, { deadlineMs, signal: gone.signal }, house);
}

/** Requests without a body may say their deadline behind the path. */
function askedDeadline(query: unknown): number | null {
  const { timeoutMs } = query as { readonly timeoutMs?: unknown };
  return timeoutMs === undefined ? null : parseDecimal(timeoutMs, 'timeoutMs', { min: 1, max: MAX_DEADLINE_MS });
}

/** The flags of the route that the query says are true. */
function askedFlags({ flags = {} }: Route, query: unknown): ReadonlySet<string> {
  const given = query as Readonly<Record<string, unknown>>;
  return new Set(
    Object.keys(flags).filter((name) => {
      const value = given[name];
      if (value !== undefined && value !== 'true' && value !== 'false') throw refusal(name, 'must be true or false');
      return value === 'true';
    }),
  );
}

function answerError(log: Log, reply: FastifyReply, error: unknown): FastifyReply {
  const typed = typedError(error);
  if (!(typed instanceof FairleadError)) log.error('http-unforeseen-error', { error: typed });
  const body = errorBody(typed);
  return reply.code(ERROR_CODES[body.code].http ?? 500).send({ error: body });
}

/** What fastify itself refuses, as one of our own errors; everything else unchanged. */
function typedError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof FairleadError) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new FairleadError('invalid-argument', `body must be at most ${MAX_BODY_BYTES} bytes long.`, {
        field: 'body',
      });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new FairleadError('invalid-argument', 'content-type must be application/json.', { field: 'content-type' });
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new FairleadError('invalid-argument', 'content-length must be the length of the body.', {
        field: 'content-length',
      });
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new FairleadError('invalid-argument', 'path must be a proper URL path.', { field: 'path' });
    default:
      return error;
  }
}

/** What node:http refuses before there is a request. */
function malformed(error: Error & { readonly code?: string }): FairleadError {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new FairleadError(
        'deadline-exceeded',
        `The request was not sent within ${HTTP_REQUEST_TIMEOUT_MS / 1000} seconds. Send it faster.`,
      );
    case 'HPE_HEADER_OVERFLOW':
      return new FairleadError('invalid-argument', `headers must be at most ${MAX_HEADER_BYTES} bytes long.`, {
        field: 'headers',
      });
    default:
      return new FairleadError('invalid-argument', 'This is no HTTP/1.1 request.', { field: 'request' });
  }
}

function stranger(): FairleadError {
  return new FairleadError(
    'permission-denied',
    'This user may not use Fairlead. Ask as root, or let an operator add the user to allowed_uids in the configuration.',
  );
}

function tooMany(what: 'connections' | 'requests'): FairleadError {
  return new FairleadError('resource-exhausted', `Too many ${what} are open at the agent. Try again later.`);
}

/** An answer on a connection that has no request (yet). */
function answerRaw(socket: Socket, error: FairleadError): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const text = JSON.stringify({ error: errorBody(error) });
  const status = ERROR_CODES[error.code].http ?? 500;
  socket.end(
    `HTTP/1.1 ${status} ${error.code}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
  socket.destroySoon();
}

async function close(server: Server, connections: ReadonlySet<Socket>, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  server.closeIdleConnections();
  const patience = setTimeout(() => {
    for (const socket of connections) socket.destroy();
  }, graceMs);
  await closed;
  clearTimeout(patience);
}
