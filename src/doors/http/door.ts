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
import { checkBody, parseJson, shownName } from './body.js';
import { answerError, answerRaw, malformed, tooMany, wrongMethod } from './errors.js';
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
  /** What every volume URL matches, for the OpenAPI document. */
  readonly volumePattern: string;
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

/** Where the document is that describes all of this. */
const OPENAPI = { method: 'GET', path: '/v1/openapi.json' } as const;

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
  const methods = methodsByPath([...ports.routes, OPENAPI]);
  app.addHook('onRequest', (request, reply, done) => {
    done(faultOf(request, reply, methods) ?? undefined);
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
  const document = openApi(ports);
  app.route({
    method: OPENAPI.method,
    url: OPENAPI.path,
    handler: ({ query }) => {
      checkQuery(query, []);
      return document;
    },
  });
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

/** The methods that each path has: a pattern of the path, and they in the form of the header Allow. */
function methodsByPath(routes: readonly Pick<Route, 'method' | 'path'>[]): ReadonlyMap<RegExp, string> {
  const allow = new Map<string, string[]>();
  for (const { method, path } of routes) {
    const also = method === 'GET' ? [method, 'HEAD'] : [method];
    allow.set(path, [...(allow.get(path) ?? []), ...also]);
  }
  const patternOf = (path: string): RegExp =>
    new RegExp(`^${path.replaceAll('.', '\\.').replaceAll('{leaf}', '[^/]+')}$`);
  return new Map([...allow].map(([path, those]) => [patternOf(path), those.join(', ')]));
}

/** What is wrong with a request before its body is looked at; null if nothing is. */
function faultOf(
  { is404, url, raw }: FastifyRequest,
  reply: FastifyReply,
  methods: ReadonlyMap<RegExp, string>,
): FairleadError | null {
  if (raw.httpVersion === '1.1' && raw.headers.host === undefined) {
    return new FairleadError('invalid-argument', 'host must be given, as HTTP/1.1 wants; any will do.', {
      field: 'host',
    });
  }
  if (!is404) return null;
  const path = url.split('?', 1)[0] ?? '';
  const [, allow] = [...methods].find(([pattern]) => pattern.test(path)) ?? [];
  if (allow !== undefined) {
    void reply.header('allow', allow);
    return wrongMethod(allow);
  }
  return new FairleadError('not-found', 'There is no such request here; see GET /v1/openapi.json.', { field: 'path' });
}

function serve(route: Route, request: FastifyRequest, reply: FastifyReply, house: House | undefined): unknown {
  if (house === undefined) throw new Error('the door is not open');
  if (route.body !== null && request.body === undefined) {
    throw new FairleadError('invalid-argument', 'body must be a JSON object.', { field: 'body' });
  }
  if (route.body === null && request.body !== undefined) throw refusal('body', 'must not be there in this request');
  checkQuery(request.query, [...Object.keys(route.flags ?? {}), ...(route.body === null ? ['timeoutMs'] : [])]);
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

/** Refuses what a query says beyond these names. */
function checkQuery(query: unknown, known: readonly string[]): void {
  const unknown = Object.keys(query as object).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw refusal(shownName(unknown), 'is not in the query of this request; see GET /v1/openapi.json');
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
