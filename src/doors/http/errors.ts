// Errors as answers of HTTP: every refusal, of whatever layer, is a typed error in one form.

import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { ERROR_CODES, errorBody, type ErrorBody, FairleadError } from '../../core/errors.js';
import { HTTP_REQUEST_TIMEOUT_MS, MAX_BODY_BYTES, MAX_HTTP_HEADER_BYTES } from '../../core/limits.js';
import type { Log } from '../../sys/log.js';

const BETTER_STATUS: ReadonlyMap<string, number> = new Map([
  ['method', 405],
  ['content-type', 415],
]);
const JSON_TYPE = 'application/json; charset=utf-8';

/** Answers a request with an error, of whatever layer; what nobody foresaw is logged. */
export function answerError(log: Log, reply: FastifyReply, error: unknown): FastifyReply {
  const typed = typedError(error);
  if (!(typed instanceof FairleadError)) log.error('http-unforeseen-error', { error: typed });
  const body = errorBody(typed);
  return reply.code(statusOf(body)).send({ error: body });
}

/** The status of an error's code; for two fields of a request there is a better one (RFC 9110, 15.5.6 and 15.5.16). */
function statusOf({ code, field }: Pick<ErrorBody, 'code'> & { readonly field?: string | undefined }): number {
  const better = code === 'invalid-argument' && field !== undefined ? BETTER_STATUS.get(field) : undefined;
  return better ?? ERROR_CODES[code].http ?? 500;
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
export function malformed(error: Error & { readonly code?: string }): FairleadError {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new FairleadError(
        'deadline-exceeded',
        `The request was not sent within ${HTTP_REQUEST_TIMEOUT_MS / 1000} seconds. Send it faster.`,
      );
    case 'HPE_HEADER_OVERFLOW':
      return new FairleadError('invalid-argument', `headers must be at most ${MAX_HTTP_HEADER_BYTES} bytes long.`, {
        field: 'headers',
      });
    default:
      return new FairleadError('invalid-argument', 'This is no HTTP/1.1 request.', { field: 'request' });
  }
}

/** The refusal of a method that the path has not. */
export function wrongMethod(allow: string): FairleadError {
  return new FairleadError('invalid-argument', `method must be ${allow.replace(', ', ' or ')} at this path.`, {
    field: 'method',
  });
}

/** The refusal of who may not ask. */
export function stranger(): FairleadError {
  return new FairleadError(
    'permission-denied',
    'This user may not use Fairlead. Ask as root, or let an operator add the user to allowed_uids in the configuration.',
  );
}

/** The refusal of one more than there are places for. */
export function tooMany(what: 'connections' | 'requests'): FairleadError {
  return new FairleadError('resource-exhausted', `Too many ${what} are open at the agent. Try again later.`);
}

/** An answer on a connection that has no request (yet). */
export function answerRaw(socket: Duplex, error: FairleadError): void {
  if (socket.writable) socket.end(rawAnswer(error));
  else socket.destroy();
}

/** A whole answer, after which the connection ends. */
export function rawAnswer(error: FairleadError): string {
  const text = JSON.stringify({ error: errorBody(error) });
  return (
    `HTTP/1.1 ${statusOf(error)} ${error.code}\r\ncontent-type: ${JSON_TYPE}\r\n` +
    `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`
  );
}

/** Refuses a second request before the first is answered, where the end of the first was not foreseeable: behind chunks. */
export function answerUnasked(response: ServerResponse): void {
  const error = new FairleadError('invalid-argument', 'Send a request when the one before it is answered.', {
    field: 'request',
  });
  response.writeHead(400, { 'content-type': JSON_TYPE, connection: 'close' });
  response.end(JSON.stringify({ error: errorBody(error) }));
}
