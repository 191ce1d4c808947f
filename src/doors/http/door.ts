// The HTTP door: JSON over the agent's unix socket. It reads what strangers write, says who may ask, and translates to the
// engine and back. It decides nothing about mounts. Every refusal, of whatever layer, is a typed error in one form.

import type { Server as HttpServer } from 'node:http';
import { fastify, type FastifyRequest, type FastifyReply } from 'fastify';
import { FairleadError } from '../../core/errors.js';
import { HTTP_REQUESTS, MAX_BODY_BYTES, MAX_DEADLINE_MS } from '../../core/limits.js';
import { parseDecimal } from '../../core/numbers.js';
import { refusal } from '../../core/text.js';
import type { Log } from '../../sys/log.js';
import type { House, Route } from '../route.js';
import type { AccessRule } from './access.js';
import { checkBody, parseJson } from './body.js';
import { answerError, answerRaw, malformed, tooMany } from './errors.js';
import { createParser, Listener } from './listener.js';
import { openApi } from './openapi.js';
import type { Paced } from './paced.js';
import { Places } from './places.js';

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

/** Makes the door, and loads all of its code: later the process may not be allowed to read it any more. */
export async function createHttpDoor(ports: HttpDoorPorts): Promise<HttpDoor> {
  const { log, access } = ports;
  let parser: HttpServer | undefined;
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    serverFactory: (handle) => {
      parser = createParser(handle);
      return parser;
    },
    frameworkErrors: (error, _, reply) => {
      void answerError(log, reply, error);
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
  app.setErrorHandler((error, _, reply) => answerError(log, reply, error));
  app.setNotFoundHandler((_, reply) => {
    const error = new FairleadError('not-found', 'There is no such request here; see GET /v1/openapi.json.', {
      field: 'path',
    });
    return answerError(log, reply, error);
  });
  let house: House | undefined;
  const requests = new Places(HTTP_REQUESTS);
  for (const route of ports.routes) {
    app.route({
      method: route.method,
      url: route.path.replace('{leaf}', ':leaf'),
      handler: async (request, reply) => {
        const leave = requests.take(connectionOf(request).uid);
        if (leave === null) throw tooMany('requests');
        try {
          return await serve(route, request, reply, house);
        } finally {
          leave();
        }
      },
    });
  }
  const document = openApi(ports.version, ports.routes);
  app.get('/v1/openapi.json', () => document);
  await app.ready();
  if (parser === undefined) throw new Error('fastify made no server');
  const listener = new Listener(parser, access, log);
  return {
    open: (path, behind) => {
      house = behind;
      return listener.open(path);
    },
    close: (graceMs) => listener.close(graceMs),
  };
}

function connectionOf(request: FastifyRequest): Paced {
  return request.raw.socket as unknown as Paced;
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
