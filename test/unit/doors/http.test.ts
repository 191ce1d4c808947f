// The HTTP door: what a stranger, a sloppy client, a slow client and a vanished client get. The engine behind it is a
// recorder: what is tested here is the translation, not the mounting.

import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseVolume, VOLUME_PATTERN } from '../../../src/backends/registry.js';
import { FairleadError } from '../../../src/core/errors.js';
import { HTTP_REQUESTS, MAX_BODY_BYTES } from '../../../src/core/limits.js';
import type { ConnectReply, Engine, RequestContext } from '../../../src/core/requests.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { mayUse } from '../../../src/doors/http/access.js';
import { createHttpDoor, type HttpDoor } from '../../../src/doors/http/door.js';
import { diskDescription, disconnectReply } from '../../../src/doors/forms.js';
import * as forms from '../../../src/doors/http/schemas.js';
import { ROUTES } from '../../../src/doors/routes.js';
import { createLog } from '../../../src/sys/log.js';
import type { z } from 'zod';

const URL = 'quobyte://reg1:7861/vol';
const LEAF = leafOf('reg1:7861/vol' as Export);

let directory: string;
let socket: string;
let door: HttpDoor;
let calls: { name: string; request: unknown; context?: RequestContext }[];
let lines: string[];
let answerConnect: (context: RequestContext) => Promise<ConnectReply>;

const connected: ConnectReply = {
  attachment: 'a1',
  leaf: LEAF,
  mountpoint: `/mnt/${LEAF}`,
  path: `/mnt/${LEAF}/disk`,
  verdict: 'healthy',
  changed: true,
  isNew: true,
  notes: [],
};

const engine: Engine = {
  connect: (request, context) => {
    calls.push({ name: 'connect', request, context });
    return answerConnect(context);
  },
  planConnect: (request, context) => {
    calls.push({ name: 'planConnect', request, context });
    return Promise.resolve({ leaf: LEAF, mountpoint: `/mnt/${LEAF}`, verdict: 'absent', steps: [{ kind: 'mount' }] });
  },
  disconnect: (request, context) => {
    calls.push({ name: 'disconnect', request, context });
    return Promise.resolve({ outcome: 'released', mounted: false, ending: false, leaf: LEAF, usedBy: [], holders: [] });
  },
  validate: (request, context) => {
    calls.push({ name: 'validate', request, context });
    return Promise.resolve({ verdict: 'healthy', reason: 'It answered.', leaf: LEAF, mountpoint: `/mnt/${LEAF}` });
  },
  list: () => ({ mounts: [], setAside: [], fault: null, broker: 'connected', state: 'ready', domains: 'off' }),
  liftHold: (request, context) => {
    calls.push({ name: 'liftHold', request, context });
    return Promise.resolve({ lifted: true });
  },
  examine: () => Promise.resolve([{ subject: 's', severity: 'error', message: 'm', mend: 'do it' }]),
  abort: (leaf, context) => {
    calls.push({ name: 'abort', request: leaf, context });
    return Promise.resolve({ leaf, verdict: 'stale', reason: 'Its connection is gone.', usedBy: ['cli:alice'] });
  },
  takeEvidence: (survey) => {
    calls.push({ name: 'takeEvidence', request: survey });
  },
};

async function open(agentUid = process.geteuid?.() ?? 0): Promise<void> {
  const sink = {
    write: (line: string) => void lines.push(line),
    flush: () => Promise.resolve(),
    onRoom: () => undefined,
  };
  door = await createHttpDoor({
    routes: ROUTES,
    access: { agentUid, allowedUids: [], allowedGids: [] },
    log: createLog('agent', 'debug', sink),
    version: '1.2.3',
    volumePattern: VOLUME_PATTERN,
  });
  await door.open(socket, {
    engine,
    volumes: {
      parseVolume,
      mountBaseOf: () => '/mnt',
      driverOf: () => ({ cache: 'none', io: 'native' }),
    },
    vm: null,
    version: '1.2.3',
  });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-door-'));
  chmodSync(directory, 0o755);
  socket = join(directory, 'agent.sock');
  calls = [];
  lines = [];
  answerConnect = () => Promise.resolve(connected);
  await open();
});
afterEach(async () => {
  await door.close(100);
  rmSync(directory, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly allow?: string;
  readonly body: Record<string, unknown> & { readonly error?: { code: string; message: string; field?: string } };
}

function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const outgoing = httpRequest(
      {
        socketPath: socket,
        method,
        path,
        headers: {
          ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            ...(response.headers.allow === undefined ? {} : { allow: response.headers.allow }),
            body: JSON.parse(Buffer.concat(chunks).toString()) as Answer['body'],
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}

function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = dial(socket);
    let got = '';
    client.on('data', (chunk) => (got += chunk.toString()));
    client.on('close', () => {
      resolve(got);
    });
    client.on('error', reject);
    client.write(text);
  });
}

describe('a sound request', () => {
  test('reaches the engine parsed, with its deadline, and its answer comes back in the promised form', async () => {
    const body = {
      url: URL,
      disk: 'disk',
      consumer: 'vm:6E1A2C0E-0000-4000-8000-000000000001',
      readOnly: true,
      timeoutMs: 1234,
    };
    const { status, body: reply } = await ask('POST', '/v1/connect', body);
    expect([status, reply]).toEqual([200, { ...connected }]);
    expect(calls[0]).toMatchObject({
      name: 'connect',
      request: {
        volume: { url: URL, leaf: LEAF, backend: 'quobyte' },
        disk: 'disk',
        consumer: 'vm:6e1a2c0e-0000-4000-8000-000000000001',
        readOnly: true,
      },
      context: { deadlineMs: 1234 },
    });
  });
  test('gets the default deadline of its kind', async () => {
    await ask('POST', '/v1/connect', { url: URL, consumer: 'cli:a' });
    await ask('POST', '/v1/validate', { url: URL });
    expect(calls.map(({ context }) => context?.deadlineMs)).toEqual([120_000, 10_000]);
  });
  test('dryRun asks for the plan only', async () => {
    const { body } = await ask('POST', '/v1/connect', { url: URL, consumer: 'cli:a', dryRun: true });
    expect(calls.map(({ name }) => name)).toEqual(['planConnect']);
    expect(body).toMatchObject({ steps: [{ kind: 'mount' }] });
  });
  const replies: readonly [string, string, unknown, z.ZodType][] = [
    ['POST', '/v1/connect', { url: URL, consumer: 'cli:a' }, forms.connectReply],
    ['POST', '/v1/disconnect', { url: URL, consumer: 'cli:a' }, disconnectReply],
    ['POST', '/v1/validate', { url: URL }, forms.validateReply],
    ['GET', '/v1/mounts', undefined, forms.listReply],
    ['POST', '/v1/disk-config', { url: URL, disk: 'd' }, diskDescription],
    ['DELETE', `/v1/mounts/${LEAF}/hold`, undefined, forms.liftReply],
    ['GET', '/v1/doctor', undefined, forms.doctorReply],
    ['GET', '/v1/health', undefined, forms.healthReply],
  ];
  test.each(replies)('%s %s answers in the form that the OpenAPI document shows', async (method, path, body, form) => {
    const answer = await ask(method, path, body);
    expect(answer.status).toBe(200);
    expect(form.parse(answer.body)).toEqual(answer.body);
  });
});

test('disk-config describes the disk without asking the engine', async () => {
  const { body } = await ask('POST', '/v1/disk-config', { url: URL, disk: 'd', format: 'qcow2', readOnly: true });
  expect(body).toMatchObject({ path: `/mnt/${LEAF}/d`, type: 'file', protocol: 'quobyte', readonly: true });
  expect(body['xml']).toContain('<target dev="vdb" bus="virtio"/>');
  expect(calls).toEqual([]);
});

describe('a faulty request is refused by name, before the engine is asked', () => {
  const faulty: readonly [unknown, string][] = [
    [{ url: URL }, 'consumer'],
    [{ url: URL, consumer: 'cli:a', disc: 'x' }, 'disc'],
    [{ url: URL, consumer: 'cli:a', readOnly: 'yes' }, 'readOnly'],
    [{ url: 7, consumer: 'cli:a' }, 'url'],
    [{ url: URL, consumer: 'cli:a', disk: null }, 'disk'],
    [{ url: URL, consumer: 'cli:a', disk: '../x' }, 'disk'],
    [{ url: 'http://r/v', consumer: 'cli:a' }, 'url'],
    [{ url: URL, consumer: 'root' }, 'consumer'],
    [{ url: URL, consumer: 'cli:a', timeoutMs: 0 }, 'timeoutMs'],
    [{ url: URL, consumer: 'cli:a', timeoutMs: 1.5 }, 'timeoutMs'],
    [{ url: URL, consumer: 'cli:a', timeoutMs: 3_600_001 }, 'timeoutMs'],
    [{ url: URL, consumer: 'cli:a', timeoutMs: '5' }, 'timeoutMs'],
    [Buffer.from(`{"url":"${URL}","consumer":"cli:a","__proto__":{"readOnly":true}}`), '__proto__'],
    [Buffer.from('{"url":'), 'body'],
    [Buffer.from('[]'), 'body'],
    [Buffer.from('null'), 'body'],
    [Buffer.from(''), 'body'],
    [Buffer.from([0x7b, 0x22, 0x75, 0x72, 0x6c, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), 'body'],
    [Buffer.from(JSON.stringify({ url: 'x'.repeat(MAX_BODY_BYTES) })), 'body'],
  ];
  test.each(faulty)('%#', async (body, field) => {
    const { status, body: reply } = await ask('POST', '/v1/connect', body);
    expect([status, reply.error?.code, reply.error?.field]).toEqual([400, 'invalid-argument', field]);
    expect(calls).toEqual([]);
  });
  test('no value comes back in the message', async () => {
    const { body } = await ask('POST', '/v1/connect', { url: 'quobyte://admin:hunter2@r/v', consumer: 'cli:a' });
    expect(JSON.stringify(body)).not.toContain('hunter2');
    expect(lines.join('')).not.toContain('hunter2');
  });
  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/json-seq', ''])(
    'another content type: %j',
    async (type) => {
      const { status, body } = await ask('POST', '/v1/connect', Buffer.from('{}'), { 'content-type': type });
      expect([status, body.error?.code, body.error?.field]).toEqual([415, 'invalid-argument', 'content-type']);
    },
  );
  test.each([
    ['GET', '/v1/connect', 'POST'],
    ['POST', '/v1/mounts', 'GET, HEAD'],
    ['QUERY', '/v1/mounts?timeoutMs=5', 'GET, HEAD'],
    ['QUERY', '/v1/connect', 'POST'],
    ['PROPFIND', '/v1/mounts', 'GET, HEAD'],
    ['TRACE', '/v1/doctor', 'GET, HEAD'],
    ['OPTIONS', '/v1/health', 'GET, HEAD'],
    ['PUT', `/v1/mounts/${LEAF}/hold`, 'DELETE'],
    ['PATCH', '/v1/openapi.json', 'GET, HEAD'],
    ['M-SEARCH', '/v1/vm/attach', 'POST'],
  ])('a method that the path has not: %s %s', async (method, path, allow) => {
    const answer = await ask(method, path);
    expect([answer.status, answer.allow]).toEqual([405, allow]);
    expect(answer.body.error).toMatchObject({ code: 'invalid-argument', field: 'method' });
  });
  test('a way through to somewhere else', async () => {
    const answer = await raw('CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(answer).toContain('HTTP/1.1 405');
    expect(answer).toContain('"field":"method"');
  });
  test('no host, which HTTP/1.1 wants', async () => {
    const answer = await raw('GET /v1/mounts HTTP/1.1\r\nconnection: close\r\n\r\n');
    expect(answer).toContain('HTTP/1.1 400');
    expect(answer).toContain('"field":"host"');
  });
  test('an expectation that nobody knows changes nothing', async () => {
    const answer = await raw('GET /v1/health HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\nconnection: close\r\n\r\n');
    expect(answer).toContain('HTTP/1.1 200');
  });
  test.each([
    ['GET', '/v1/mounts?tiemoutMs=5', 'tiemoutMs'],
    ['GET', '/v1/openapi.json?version=1', 'version'],
    ['GET', '/v1/mounts?force=true', 'force'],
    ['DELETE', `/v1/mounts/${LEAF}/hold?Force=true`, 'Force'],
    ['POST', '/v1/connect?timeoutMs=5', 'timeoutMs'],
    ['POST', '/v1/connect?dryRun=true', 'dryRun'],
    ['GET', '/v1/mounts?__proto__=1', '__proto__'],
    ['GET', '/v1/mounts?%0a=1', '\\n'],
  ])('a query that the request has not: %s %s', async (method, path, field) => {
    const { status, body } = await ask(method, path, method === 'POST' ? { url: URL, consumer: 'cli:a' } : undefined);
    expect([status, body.error?.code, body.error?.field]).toEqual([400, 'invalid-argument', field]);
    expect(calls).toEqual([]);
  });
  test('a body where none belongs', async () => {
    const { status, body } = await ask('DELETE', `/v1/mounts/${LEAF}/hold`, { force: true });
    expect([status, body.error?.field]).toEqual([400, 'body']);
    expect(calls).toEqual([]);
  });
  test('no body at all', async () => {
    expect((await ask('POST', '/v1/connect')).body.error).toMatchObject({ code: 'invalid-argument', field: 'body' });
  });
  test('an unknown path', async () => {
    expect(await ask('GET', '/v1/nothing')).toMatchObject({ status: 404, body: { error: { code: 'not-found' } } });
    expect(await ask('GET', '/v1/%ff')).toMatchObject({ status: 400, body: { error: { code: 'invalid-argument' } } });
  });
  test('a leaf that is none', async () => {
    expect((await ask('DELETE', '/v1/mounts/..%2f..%2fetc/hold')).body.error).toMatchObject({ field: 'leaf' });
  });
  test('bytes that are no HTTP', async () => {
    const answer = await raw('\x00\x01\x02 nonsense\r\n\r\n');
    expect(answer).toContain('HTTP/1.1 400');
    expect(answer).toContain('"code":"invalid-argument"');
  });
  test('headers without end', async () => {
    expect(await raw(`GET /v1/mounts HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`)).toContain(
      '"field":"headers"',
    );
  });
});

describe('an error of the engine', () => {
  test('keeps its code, field and leaf, with the status of the code', async () => {
    answerConnect = () => Promise.reject(new FairleadError('stuck', 'Not over.', { leaf: LEAF, helperOutput: 'out' }));
    expect(await ask('POST', '/v1/connect', { url: URL, consumer: 'cli:a' })).toEqual({
      status: 503,
      body: { error: { code: 'stuck', message: 'Not over.', retryable: true, leaf: LEAF, helperOutput: 'out' } },
    });
  });
  test('that nobody foresaw becomes `internal`, and its text stays inside', async () => {
    answerConnect = () => Promise.reject(new RangeError('secret hunter2'));
    const { status, body } = await ask('POST', '/v1/connect', { url: URL, consumer: 'cli:a' });
    expect([status, body.error?.code]).toEqual([500, 'internal']);
    expect(JSON.stringify(body) + lines.join('')).not.toContain('hunter2');
    expect(lines.join('')).toContain('http-unforeseen-error');
  });
});

test('a client that goes away aborts its request', async () => {
  const aborted = new Promise<void>((resolve) => {
    answerConnect = ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          resolve();
          reject(new FairleadError('deadline-exceeded', 'gone'));
        });
        client.destroy();
      });
  });
  const body = JSON.stringify({ url: URL, consumer: 'cli:a' });
  const client = dial(socket);
  client.write(
    `POST /v1/connect HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await aborted;
});

test('a request that is answered does not abort', async () => {
  await ask('POST', '/v1/connect', { url: URL, consumer: 'cli:a' });
  expect(calls[0]?.context?.signal.aborted).toBe(false);
});

test('too many requests at once are refused, and those in progress are answered', async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  answerConnect = async () => {
    await released;
    return connected;
  };
  const body = { url: URL, consumer: 'cli:a' };
  const waiting: Promise<Answer>[] = [];
  // In portions: the kernel queues only so many connections (listen(2)) and refuses the rest with EAGAIN.
  while (waiting.length < HTTP_REQUESTS.root) {
    for (let i = 0; i < 256; i += 1) waiting.push(ask('POST', '/v1/connect', body));
    await expect.poll(() => calls.length, { timeout: 10_000, interval: 5 }).toBe(waiting.length);
  }
  expect(await ask('POST', '/v1/connect', body)).toMatchObject({
    status: 429,
    body: { error: { code: 'resource-exhausted' } },
  });
  release();
  expect((await Promise.all(waiting)).every(({ status }) => status === 200)).toBe(true);
  expect((await ask('POST', '/v1/connect', body)).status).toBe(200);
});

test('a client that sends too slowly is told so', { timeout: 20_000 }, async () => {
  const answer = await raw(
    'POST /v1/connect HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
  );
  expect(answer).toContain('"code":"deadline-exceeded"');
});

describe('who may ask', () => {
  const rule = { agentUid: 990, allowedUids: [107], allowedGids: [64055] };
  test.each([
    [{ pid: 1, uid: 0, gid: 0 }, true],
    [{ pid: 1, uid: 990, gid: 1 }, true],
    [{ pid: 1, uid: 107, gid: 1 }, true],
    [{ pid: 1, uid: 1000, gid: 64055 }, true],
    [{ pid: 1, uid: 1000, gid: 0 }, false],
    [{ pid: 1, uid: 65534, gid: 65534 }, false],
    [null, false],
  ])('%j: %s', (peer, answer) => {
    expect(mayUse(peer, rule)).toBe(answer);
  });
  test('the socket is open to all, so that a stranger gets an answer that can be read', () => {
    expect(statSync(socket).mode & 0o777).toBe(0o666);
  });
  test.skipIf(process.geteuid?.() !== 0)('a stranger is told who may', async () => {
    process.seteuid?.(4242);
    try {
      const answer = await ask('GET', '/v1/mounts');
      expect(answer).toMatchObject({ status: 403, body: { error: { code: 'permission-denied' } } });
      expect(answer.body.error?.message).toContain('allowed_uids');
    } finally {
      process.seteuid?.(0);
    }
  });
});

test('a request without a body may say its deadline behind the path, in the same form as any other', async () => {
  const path = `/v1/mounts/${LEAF}/hold`;
  expect(await ask('DELETE', `${path}?timeoutMs=77`)).toMatchObject({ status: 200 });
  expect(await ask('DELETE', path)).toMatchObject({ status: 200 });
  expect(calls.map(({ context }) => context?.deadlineMs)).toEqual([77, 10_000]);
  for (const wrong of ['0', '1.5', 'soon', '3600001', '', '1&timeoutMs=2']) {
    const { status, body } = await ask('GET', `/v1/mounts?timeoutMs=${wrong}`);
    expect([status, body.error?.field]).toEqual([400, 'timeoutMs']);
  }
});

test('a hold is lifted whoever uses the mount only if that is said in so many letters', async () => {
  const path = `/v1/mounts/${LEAF}/hold`;
  for (const query of ['', '?force=false', '?force=true&timeoutMs=77']) await ask('DELETE', `${path}${query}`);
  expect(calls.map(({ request }) => request)).toEqual([false, false, true].map((force) => ({ leaf: LEAF, force })));
  for (const wrong of ['', '1', 'yes', 'TRUE', 'true&force=true']) {
    const { status, body } = await ask('DELETE', `${path}?force=${wrong}`);
    expect([status, body.error?.field]).toEqual([400, 'force']);
  }
  expect(calls).toHaveLength(3);
  const { body } = await ask('GET', '/v1/openapi.json');
  const paths = body['paths'] as Record<string, Record<string, { parameters: readonly { name: string }[] }>>;
  expect(paths['/v1/mounts/{leaf}/hold']?.['delete']?.parameters.map(({ name }) => name)).toEqual([
    'leaf',
    'force',
    'timeoutMs',
  ]);
});

test('the OpenAPI document names every path and refers to nothing that is missing', async () => {
  const { body } = await ask('GET', '/v1/openapi.json');
  expect(body['openapi']).toBe('3.1.0');
  expect(Object.keys(body['paths'] as object)).toEqual([...new Set(ROUTES.map(({ path }) => path))]);
  expect(Object.keys(body['paths'] as object)).toContain('/v1/vm/attach');
  const refs = JSON.stringify(body).match(/"\$ref":"[^"]*"/g) ?? [];
  const { schemas } = body['components'] as { schemas: object };
  for (const ref of refs) expect(Object.keys(schemas)).toContain(/([^/]*)"$/.exec(ref)?.[1]);
});
