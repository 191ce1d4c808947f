// The HTTP door among strangers: who may not ask, what is no request, too large, too slow, too many, and a client that goes
// away. Each is answered in the one form of errors, nothing is done for it, and the next honest request is served.

import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client, dial, exchange, readAnswers, type HttpAnswer } from '../../rig/client.js';
import { Host, leafOfUrl } from '../../rig/host.js';
import { AGENT, STRANGER } from '../../rig/identity.js';
import { memory, running } from '../../rig/processes.js';
import { FAIRLEAD, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** Somebody whom the configuration lets in by user, and somebody by group. */
const GUEST = { uid: 12_346, gid: 12_346 };
const MEMBER = { uid: 12_347, gid: 12_348 };
/** As the limits have it (src/core/limits.ts); the connections are root's. */
const BODY_BYTES = 65_536;
const CONNECTIONS = 1536;
const SLOW_MS = 10_000;

let host: Host;
let client: Client;
let agent: number | null;
beforeAll(async () => {
  host = await Host.boot({
    configure: (toml) => `allowed_uids = [${GUEST.uid}]\nallowed_gids = [${MEMBER.gid}]\n${toml}`,
  });
  client = new Client(host.socket);
  agent = host.pid('agent');
});
afterAll(async () => {
  client.close();
  await host.shutDown();
});
afterEach(async () => {
  expect(host.pid('agent')).toBe(agent);
  expect((await client.list()).body['mounts']).toEqual([]);
  expect(host.mounts()).toEqual([]);
  expect(readdirSync(host.quobyteBase)).toEqual([]);
});

const errorOf = (answer: HttpAnswer | undefined): Readonly<Record<string, unknown>> =>
  (answer?.body['error'] ?? {}) as Readonly<Record<string, unknown>>;
const post = (path: string, body: string | Buffer, headers: readonly string[] = []): Buffer =>
  Buffer.concat([
    Buffer.from(
      [
        `POST ${path} HTTP/1.1`,
        'host: fairlead',
        'connection: close',
        'content-type: application/json',
        `content-length: ${Buffer.byteLength(body)}`,
        ...headers,
        '',
        '',
      ].join('\r\n'),
    ),
    Buffer.from(body),
  ]);

describe('somebody', () => {
  it('who is not allowed is told so and nothing is done for him', async () => {
    const url = await host.volume('private');
    const stranger = new Client(host.socket, STRANGER);
    for (const answer of [
      await stranger.connect(url, 'cli:mallory'),
      await stranger.disconnect(url, 'cli:mallory'),
      await stranger.ask('POST', '/v1/validate', { url }),
      await stranger.list(),
      await stranger.ask('GET', '/v1/doctor'),
      await stranger.ask('GET', '/v1/openapi.json'),
      await stranger.ask('GET', '/v1/nothing'),
      await stranger.ask('DELETE', `/v1/mounts/${leafOfUrl(url)}/hold`),
    ]) {
      expect([answer.status, answer.code]).toEqual([403, 'permission-denied']);
      expect(Object.keys(answer.body)).toEqual(['error']);
    }
    stranger.close();
  });

  it('whom the configuration allows, by user or by group, is served; the agent’s own user and root are too', async () => {
    const url = await host.volume('shared');
    for (const who of [GUEST, MEMBER, AGENT, { uid: 0, gid: 0 }]) {
      const guest = new Client(host.socket, who);
      expect((await guest.connect(url, 'cli:guest')).status).toBe(200);
      expect((await guest.disconnect(url, 'cli:guest')).body['outcome']).toBe('released');
      guest.close();
    }
  });
});

describe('a request that is', () => {
  const valid = { url: 'quobyte://reg1:7861/v', consumer: 'cli:alice' };

  it.each<readonly [string, object, string]>([
    ['without its volume', { consumer: 'cli:alice' }, 'url'],
    ['with an unknown field', { ...valid, options: '-o suid' }, 'options'],
    ['with mount options in its clothing', { ...valid, mountOptions: ['suid'] }, 'mountOptions'],
    ['with a number for a name', { ...valid, disk: 7 }, 'disk'],
    ['with text for a flag', { ...valid, readOnly: 'yes' }, 'readOnly'],
    ['with a list for a volume', { ...valid, url: [valid.url] }, 'url'],
    ['with an object for a consumer', { ...valid, consumer: { toString: 'cli:alice' } }, 'consumer'],
    ['with a deadline of no time', { ...valid, timeoutMs: 0 }, 'timeoutMs'],
    ['with a deadline that is no whole number', { ...valid, timeoutMs: 1.5 }, 'timeoutMs'],
    ['with a deadline of a year', { ...valid, timeoutMs: 31_536_000_000 }, 'timeoutMs'],
    ['with an option for a volume', { ...valid, url: 'quobyte://-o,suid/v' }, 'url'],
    ['with a way out for a volume', { ...valid, url: 'quobyte://reg1/../../etc' }, 'url'],
    ['with a NUL in its volume', { ...valid, url: 'quobyte://reg1/a\0b' }, 'url'],
    ['with a path for a disk', { ...valid, disk: '../../etc/shadow' }, 'disk'],
    ['with nobody for a consumer', { ...valid, consumer: 'root' }, 'consumer'],
  ])('%s is refused by the name of the field, before anything happens', async (_, body, field) => {
    const answer = await client.ask('POST', '/v1/connect', body);
    expect([answer.status, answer.code, errorOf(answer)['field']]).toEqual([400, 'invalid-argument', field]);
  });

  it.each<readonly [string, string | Buffer]>([
    ['empty', ''],
    ['cut off', '{"url":"quobyte://r'],
    ['not UTF-8', Buffer.from('{"url":"\xff\xfe"}', 'latin1')],
    ['a list', '[]'],
    ['null', 'null'],
    ['as deep as it is long', '['.repeat(30_000)],
    ['somebody’s prototype', '{"__proto__":{"url":"quobyte://reg1/v","consumer":"cli:x"}}'],
    ['full of members', `{${Array.from({ length: 4000 }, (_, n) => `"k${n}":${n}`).join(',')}}`],
    ['longer than the limit', `{"url":"${'x'.repeat(BODY_BYTES)}"}`],
  ])('%s is refused', async (_, body) => {
    const [answer] = await exchange(host.socket, post('/v1/connect', body));
    expect([answer?.status, answer?.code]).toEqual([400, 'invalid-argument']);
  });

  it.each<readonly [string, string | Buffer]>([
    ['noise', Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 151 + 7) % 256))],
    ['a greeting to another service', 'EHLO example.org\r\n\r\n'],
    ['a TLS handshake', Buffer.from('160301020001000001fc0303', 'hex')],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['made of headers', `GET /v1/mounts HTTP/1.1\r\n${'x: y\r\n'.repeat(10_000)}\r\n`],
    ['one long header', `GET /v1/mounts HTTP/1.1\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`],
    ['two requests in one, by its lengths', post('/v1/connect', '{}', ['transfer-encoding: chunked'])],
    ['of a negative length', 'POST /v1/connect HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n'],
  ])('%s is answered as no request, and the connection ends', async (_, bytes) => {
    const answers = await exchange(host.socket, bytes);
    expect(answers.map(({ code }) => code)).toEqual(['invalid-argument']);
  });

  it('to a place that is not is not found, and in a way that is not is told the ways', async () => {
    for (const [method, path, status, code] of [
      ['GET', '/', 404, 'not-found'],
      ['GET', '/v1/mounts/../../etc/passwd', 404, 'not-found'],
      ['GET', '//v1//mounts', 404, 'not-found'],
      ['GET', '/v1/connect', 405, 'invalid-argument'],
      ['POST', '/v1/mounts', 405, 'invalid-argument'],
    ] as const) {
      const answer = await client.ask(method, path, method === 'POST' ? {} : undefined);
      expect([path, answer.status, answer.code]).toEqual([path, status, code]);
    }
    expect((await client.ask('DELETE', '/v1/mounts/..%2f..%2fetc/hold')).code).toBe('invalid-argument');
  });
});

/** A connection to the door, tried again while more wait there than the kernel queues. */
const dialPatiently = (): Promise<Socket> =>
  until('the door takes one more', async () => {
    const socket = dial(host.socket);
    socket.on('error', () => undefined);
    const [connected] = await Promise.race([
      once(socket, 'connect').then(() => [true]),
      once(socket, 'close').then(() => [false]),
    ]);
    return connected === true && socket;
  });

describe('clients that are', () => {
  it('too slow are told so in time and cut off, and keep nobody else waiting', async () => {
    const begun = performance.now();
    const beginnings = [
      '',
      'G',
      'GET /v1/mounts HTTP/1.1\r\nhost: x\r\n',
      post('/v1/connect', ' '.repeat(100)).subarray(0, -50),
    ];
    const slow = Array.from({ length: 40 }, async (_, index) => {
      const socket = await dialPatiently();
      const parts: Buffer[] = [];
      socket.on('data', (part: Buffer) => parts.push(part));
      socket.write(beginnings[index % beginnings.length] ?? '');
      const drip = setInterval(() => socket.write(index % 4 === 2 ? 'x: y\r\n' : ''), 1000);
      await once(socket, 'close');
      clearInterval(drip);
      return { index, ms: performance.now() - begun, said: Buffer.concat(parts).toString() };
    });
    const asked = performance.now();
    expect((await client.list()).status).toBe(200);
    expect(performance.now() - asked).toBeLessThan(1000);
    for (const { index, ms, said } of await Promise.all(slow)) {
      expect([index, ms < SLOW_MS + 3000]).toEqual([index, true]);
      // Who has said nothing at all may be cut off without a word.
      if (index % beginnings.length === 0) continue;
      expect(readAnswers(said).map(({ code }) => code)).toEqual(['deadline-exceeded']);
    }
  });

  it('too many are told so, those who are in are served, and there is room again when they have gone', async () => {
    const before = memory(agent ?? 0);
    const sockets: Socket[] = [];
    const refused = new Set<string | undefined>();
    for (let n = 0; n < CONNECTIONS + 50; n++) {
      const socket = await dialPatiently();
      sockets.push(socket);
      socket.on('data', (part: Buffer) => refused.add(readAnswers(part.toString())[0]?.code));
    }
    await until('those beyond the limit are refused', () => refused.size > 0);
    expect([...refused]).toEqual(['resource-exhausted']);
    // This client has been in since before.
    expect((await client.list()).status).toBe(200);
    for (const socket of sockets) socket.destroy();
    await until('there is room again', async () => {
      const late = new Client(host.socket);
      try {
        return (await late.list()).status === 200;
      } catch (error) {
        // The kernel's queue is still full of those who have gone (connect(2), EAGAIN).
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return false;
      } finally {
        late.close();
      }
    });
    expect(memory(agent ?? 0) - before).toBeLessThan(100);
  });

  it('gone in the middle of a connect leave no attachment and no mount', async () => {
    const url = await host.volume('abandoned');
    await host.sandbox('fault', 'abandoned', 'slow-mount', '800');
    for (const away of ['before the mount', 'during the mount'] as const) {
      const gone = new AbortController();
      const asking = client.ask('POST', '/v1/connect', { url, consumer: 'cli:alice' }, gone.signal);
      const helper = (): boolean => running(join(host.dir, 'bin/mount.quobyte')).length > 0;
      if (away === 'during the mount') await until('the helper is at work', helper);
      gone.abort();
      await expect(asking).rejects.toThrow();
      await until(
        'nothing is left',
        async () =>
          ((await client.list()).body['mounts'] as unknown[]).length === 0 &&
          host.mounts().length === 0 &&
          readdirSync(host.quobyteBase).length === 0 &&
          !helper(),
      );
    }
    await host.sandbox('heal', 'abandoned');
  });

  it('gone just after the connect that they did not hear of find their attachment, once, when they ask again', async () => {
    const url = await host.volume('retried');
    for (let round = 0; round < 30; round++) {
      const gone = new AbortController();
      const asking = client.ask('POST', '/v1/connect', { url, consumer: 'cli:alice' }, gone.signal).catch(() => null);
      await Promise.race([asking, new Promise((resolve) => setTimeout(resolve, round))]);
      gone.abort();
      await asking;
      expect((await client.connect(url, 'cli:alice')).status).toBe(200);
      const mounts = (await client.list()).body['mounts'] as readonly { attachments: unknown[] }[];
      expect(mounts.map(({ attachments }) => attachments.length)).toEqual([1]);
      expect((await client.disconnect(url, 'cli:alice')).body['outcome']).toBe('released');
    }
  });
});

describe('the command line', () => {
  const asked = (socket: string): Promise<{ status: number | null; error: { code: string; message: string } }> =>
    run(FAIRLEAD, ['ls', '--json', '--socket', socket]).then(({ status, stdout }) => ({
      status,
      error: (JSON.parse(stdout) as { error: { code: string; message: string } }).error,
    }));

  it('says what to do where there is no agent', async () => {
    const dead = join(host.dir, 'dead.sock');
    const file = join(host.dir, 'file.sock');
    writeFileSync(file, '');
    const listening = createServer().listen(dead);
    await once(listening, 'listening');
    listening.close();
    for (const socket of [join(host.dir, 'nowhere.sock'), file, dead, join(file, 'below')]) {
      const { status, error } = await asked(socket);
      expect([status, error.code]).toEqual([15, 'unavailable']);
      expect(error.message).toContain('fairlead up');
    }
  });

  it.each<readonly [string, string]>([
    ['speaks another language', '220 smtp.example.org\r\n'],
    ['answers with no JSON', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello'],
    ['answers with an error of its own', 'HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}'],
    ['hangs up', ''],
  ])('is not fooled by somebody else at the socket who %s', async (_, says) => {
    const path = join(host.dir, 'theirs.sock');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(says));
    }).listen(path);
    await once(server, 'listening');
    const { status, error } = await asked(path).finally(() => server.close());
    expect([status, error.code]).toEqual([15, 'unavailable']);
  });
});
