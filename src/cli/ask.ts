// One question to the agent over its unix socket. What comes back is checked to be an answer of an agent: it may be
// anybody who listens at the path that was named.

import { readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { FairleadError, errorFromBody, isErrorCode, type ErrorBody } from '../core/errors.js';
import { REPLY_GRACE_MS, SHUT_LAST_MS } from '../core/limits.js';
import { escapeForLog } from '../core/text.js';
import type { Question } from './command.js';

/** Bytes of an answer: far more than a host full of mounts needs. */
const MAX_ANSWER_BYTES = 134_217_728;
/** Bytes of a socket's path (unix(7), sun_path without the last NUL). */
const MAX_SOCKET_BYTES = 107;
/** Milliseconds that an answer may be later than the agent promises, before we believe that it hangs. */
const PATIENCE_MS = 3000;
/** How long, and how often, a full queue at the socket is tried again, milliseconds. */
const QUEUE_PATIENCE_MS = 2000;
const QUEUE_PAUSE_MS = 20;

/** The agent's answer. Rejects with a FairleadError: the agent's own, or `unavailable` and `permission-denied` of ours. */
export async function ask(socket: string, question: Question): Promise<unknown> {
  if (socket === '' || Buffer.byteLength(socket) > MAX_SOCKET_BYTES) {
    // Node would cut the path off and connect to whatever has the shorter name.
    throw new FairleadError('invalid-argument', `socket must be a path of at most ${MAX_SOCKET_BYTES} bytes.`, {
      field: 'socket',
    });
  }
  const started = Date.now();
  for (;;) {
    try {
      return await askOnce(socket, question);
    } catch (error) {
      // More clients at once than the kernel queues (connect(2), EAGAIN for unix sockets): nothing was sent yet.
      if (errno(error) !== 'EAGAIN' || Date.now() - started > QUEUE_PATIENCE_MS) throw explain(error, socket);
      await new Promise((resolve) => setTimeout(resolve, QUEUE_PAUSE_MS));
    }
  }
}

function askOnce(socket: string, { method, path, body, deadlineMs }: Question): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? null : Buffer.from(JSON.stringify(body));
    const outgoing = request(
      {
        socketPath: socket,
        method,
        path,
        agent: false,
        headers:
          payload === null ? {} : { 'content-type': 'application/json', 'content-length': String(payload.length) },
      },
      (incoming) => {
        readAnswer(incoming).then(resolve, reject);
      },
    );
    const patience = setTimeout(
      () => {
        outgoing.destroy(
          new FairleadError(
            'deadline-exceeded',
            'The agent did not answer in time. Try again; see the log of the agent.',
          ),
        );
      },
      deadlineMs + REPLY_GRACE_MS + PATIENCE_MS,
    );
    outgoing.on('error', reject);
    outgoing.on('close', () => {
      clearTimeout(patience);
    });
    outgoing.end(payload ?? undefined);
  });
}

async function readAnswer(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw notOurs();
    chunks.push(chunk);
  }
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw notOurs(error);
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) throw notOurs();
  if (incoming.statusCode === 200) return answer;
  const { error } = answer as { readonly error?: Partial<ErrorBody> };
  if (!isErrorCode(error?.code) || typeof error.message !== 'string') throw notOurs();
  throw errorFromBody(error as ErrorBody);
}

function notOurs(cause?: unknown): FairleadError {
  return new FairleadError('unavailable', 'What answers at the socket is not a Fairlead agent; check --socket.', {
    cause,
  });
}

function errno(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** The process number of the `fairlead up` whose run_dir the socket lies in, as far as we may know. */
function runningSupervisor(socket: string): number | null {
  try {
    const [, pid] = /^([1-9][0-9]{0,9})\n$/.exec(readFileSync(join(dirname(socket), 'up.lock'), 'latin1')) ?? [];
    // Somebody else may have the number of one that was killed.
    if (pid === undefined || !/fairlead/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))) return null;
    return Number(pid);
  } catch (cause) {
    if (errno(cause) === null) throw cause;
    return null;
  }
}

function explain(error: unknown, socket: string): unknown {
  if (error instanceof FairleadError) return error;
  const at = escapeForLog(socket);
  const code = errno(error);
  // What Node's parser of HTTP says of bytes that are none.
  if (code?.startsWith('HPE_') === true) return notOurs(error);
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ENOTDIR':
    case 'ENOTSOCK': {
      const supervisor = runningSupervisor(socket);
      if (supervisor !== null) {
        return new FairleadError(
          'unavailable',
          `No agent answers at ${at}, though fairlead up runs already, process ${supervisor}. It starts the agent, and puts the socket back, by itself: try again in a few seconds. If that does not help, its log says why.`,
          { cause: error },
        );
      }
      return new FairleadError(
        'unavailable',
        `No agent answers at ${at}. Start it, as root: fairlead up. If it listens elsewhere, name its socket with --socket.`,
        { cause: error },
      );
    }
    case 'EACCES':
    case 'EPERM':
      return new FairleadError(
        'permission-denied',
        `This user may not reach the socket ${at} now. Ask as root, or have the directories above it opened for search (chmod o+x). Who makes too many connections is kept away for up to ${SHUT_LAST_MS / 1000} seconds.`,
        { cause: error },
      );
    case 'EAGAIN':
      return new FairleadError('unavailable', `Too many clients wait at ${at}. Try again later.`, { cause: error });
    case 'ECONNRESET':
    case 'EPIPE':
      return new FairleadError(
        'unavailable',
        'The agent ended before it answered; it may still have done what was asked. Say it again: nothing is done twice.',
        { cause: error },
      );
    default:
      return error;
  }
}
