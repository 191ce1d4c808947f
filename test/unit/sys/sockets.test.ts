import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listenAt, peerOf } from '../../../src/sys/sockets.js';

const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
let directory: string;
let path: string;
let servers: Server[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-socket-'));
  path = join(directory, 'agent.sock');
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  rmSync(directory, { recursive: true });
});

function server(): Server {
  const made = createServer();
  servers.push(made);
  return made;
}

const silent = { warn: () => undefined };

describe('a listening socket', () => {
  it.each([0, 0o077, 0o777])(
    'has the mode that was asked for under umask %o, and leaves the umask alone',
    async (umask) => {
      const before = process.umask(umask);
      try {
        await listenAt(server(), path, { mode: 0o660, ...self }, silent);
        expect(process.umask(umask)).toBe(umask);
      } finally {
        process.umask(before);
      }
      expect(lstatSync(path).mode & 0o777).toBe(0o660);
    },
  );

  it('is nobody else’s at any moment, whatever the umask', async () => {
    const before = process.umask(0);
    const listening = server();
    let born = 0;
    listening.once('listening', () => {
      born = lstatSync(path).mode & 0o777;
    });
    try {
      await listenAt(listening, path, { mode: 0o666, ...self }, silent);
    } finally {
      process.umask(before);
    }
    expect(born).toBe(0o600);
    expect(lstatSync(path).mode & 0o777).toBe(0o666);
  });

  it('replaces the dead socket of an earlier process', async () => {
    const dead = server();
    await listenAt(dead, path, { mode: 0o600, ...self }, silent);
    const next = server();
    await listenAt(next, path, { mode: 0o600, ...self }, silent);
    const socket = connect(path);
    await new Promise((resolve, reject) => {
      next.once('connection', (accepted: Socket) => {
        accepted.destroy();
        resolve(undefined);
      });
      socket.once('error', reject);
    });
    socket.destroy();
  });

  it('is refused where something other than a socket lies, which stays', async () => {
    writeFileSync(path, 'precious');
    await expect(listenAt(server(), path, { mode: 0o600, ...self }, silent)).rejects.toMatchObject({
      code: 'config-invalid',
    });
    expect(lstatSync(path).isFile()).toBe(true);
  });

  it('knows process, user and group of whoever connects, and nothing once the socket is closed', async () => {
    const listening = server();
    await listenAt(listening, path, { mode: 0o600, ...self }, silent);
    const accepted = new Promise<Socket>((resolve) => listening.once('connection', resolve));
    const client = connect(path);
    const socket = await accepted;
    expect(peerOf(socket)).toEqual({ pid: process.pid, ...self });
    socket.destroy();
    client.destroy();
    expect(peerOf(socket)).toBeNull();
  });
});
