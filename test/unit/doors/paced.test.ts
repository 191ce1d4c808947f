// One request at a time on a connection: pipelined ones are answered in their order, none is begun before the answer to the one before it has
// left, and where a request ends the parser says, whatever pieces it comes in.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Paced } from '../../../src/doors/http/paced.js';
import { Turns } from '../../../src/doors/http/turns.js';
import { Unread } from '../../../src/doors/http/unread.js';

let directory: string;
let path: string;
let parser: Server;
let listener: NetServer;
let begun: { method: string; url: string; body: string; response: ServerResponse }[];
let refused: number;
let answer: (response: ServerResponse, body: string) => void;

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const body = Buffer.concat(parts).toString();
  begun.push({ method: request.method ?? '', url: request.url ?? '', body, response });
  answer(response, body);
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-paced-'));
  path = join(directory, 'socket');
  begun = [];
  refused = 0;
  answer = (response) => response.end('ok');
  parser = createHttpServer();
  parser.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if ((request.socket as unknown as Paced).begin(request, response)) {
      void handle(request, response).catch(() => undefined);
    } else {
      refused += 1;
      response.end();
    }
  });
  const shared = { turns: new Turns(), unread: new Unread(1_000_000) };
  listener = createServer({ allowHalfOpen: true }, (socket) => {
    parser.emit('connection', new Paced(socket, 4242, shared));
  });
  listener.listen(path);
  await once(listener, 'listening');
});
afterEach(() => {
  listener.close();
  rmSync(directory, { recursive: true, force: true });
});

function dial(): { socket: Socket; said: () => string } {
  const socket = connect(path);
  let said = '';
  socket.on('data', (bytes: Buffer) => (said += bytes.toString()));
  socket.on('error', () => undefined);
  return { socket, said: () => said };
}

const get = (url: string): string => `GET ${url} HTTP/1.1\r\nhost: x\r\n\r\n`;
const post = (url: string, body: string): string =>
  `POST ${url} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const chunked = (url: string, parts: readonly string[]): string =>
  `POST ${url} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n` +
  `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
const answersIn = (text: string): number => text.split('HTTP/1.1 200').length - 1;

test('pipelined requests are begun one after the other, each when the answer before it has left', async () => {
  answer = () => undefined;
  const { socket, said } = dial();
  socket.write(get('/1') + post('/2', 'two') + get('/3'));
  for (let n = 1; n <= 3; n++) {
    await expect.poll(() => begun.length).toBe(n);
    expect(answersIn(said())).toBe(n - 1);
    begun[n - 1]?.response.end('ok');
  }
  await expect.poll(() => answersIn(said())).toBe(3);
  expect(begun.map(({ url, body }) => [url, body])).toEqual([
    ['/1', ''],
    ['/2', 'two'],
    ['/3', ''],
  ]);
  socket.destroy();
});

describe.each([1, 2, 3, 7, 64, 5000])('in pieces of %d bytes', (size) => {
  const blank = 'two\r\n\r\nGET /no HTTP/1.1\r\n\r\n';
  const write = async (socket: Socket, text: string): Promise<void> => {
    for (let at = 0; at < text.length; at += size) {
      socket.write(text.slice(at, at + size));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  test('requests with and without a body are told apart', async () => {
    const { socket, said } = dial();
    await write(socket, `\r\n\r\n${get('/1')}${post('/2', blank)}\r\n${post('/3', '')}${get('/4')}`);
    await expect.poll(() => answersIn(said())).toBe(4);
    expect(begun.map(({ url, body }) => [url, body])).toEqual([
      ['/1', ''],
      ['/2', blank],
      ['/3', ''],
      ['/4', ''],
    ]);
    expect(refused).toBe(0);
    socket.destroy();
  });
  test('a request in chunks is the last of its connection', async () => {
    const { socket, said } = dial();
    const ended = once(socket, 'end');
    await write(socket, get('/1') + chunked('/2', ['a', blank]) + get('/3'));
    await ended;
    expect(begun.map(({ url, body }) => [url, body])).toEqual([
      ['/1', ''],
      ['/2', `a${blank}`],
    ]);
    expect(answersIn(said())).toBe(2);
    expect(said()).toContain('\r\nConnection: close\r\n');
  });
});

test('a client that does not read gets no second answer made', async () => {
  answer = (response) => response.end('x'.repeat(2_000_000));
  const { socket } = dial();
  socket.pause();
  socket.write(get('/1').repeat(1000));
  await expect.poll(() => begun.length).toBe(1);
  const other = dial();
  other.socket.pause();
  other.socket.write(get('/2'));
  // Of the same user: the first has left too much unread.
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(begun.map(({ url }) => url)).toEqual(['/1']);
  socket.destroy();
  await expect.poll(() => begun.map(({ url }) => url)).toEqual(['/1', '/2']);
  other.socket.destroy();
});

test('what is no HTTP is seen as soon as it has come', async () => {
  const seen: (string | undefined)[] = [];
  parser.on('clientError', (error: Error & { code?: string }, socket) => {
    seen.push(error.code);
    socket.destroy();
  });
  for (const text of ['EHLO x\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\x16\x03\x01\x02']) {
    const { socket } = dial();
    socket.write(text);
    await once(socket, 'close');
  }
  expect(seen).toHaveLength(3);
});
