// Where the log and the ready line cannot be written: Fairlead starts, answers, restarts what dies, and ends when told.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { alive, Host } from '../../rig/host.js';
import { descendants } from '../../rig/processes.js';
import { FAIRLEAD } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

/** Milliseconds within which SIGTERM is to end it. */
const END_MS = 10_000;

/** `fairlead up` with these descriptors as its standard output and error. */
function start(host: Host, out: number | 'ignore', err: number | 'ignore'): ChildProcess {
  return spawn(FAIRLEAD, ['up', '--config', host.configFile], { stdio: ['ignore', out, err] });
}

/** Lives through the death of its agent, answers, and ends when told, with nothing left. */
async function livesAndEnds(host: Host, up: ChildProcess): Promise<void> {
  await host.ready();
  await host.kill('agent');
  const url = await host.volume('v');
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
  expect((await host.ask('disconnect', url, '--consumer', 'cli:a')).body).toMatchObject({ outcome: 'released' });
  const left = [Number(up.pid), ...descendants(Number(up.pid)).map(({ pid }) => pid)];
  expect(left.length).toBeGreaterThan(3);
  const ended = new Promise((resolve) => up.once('exit', (status, signal) => resolve(signal ?? status)));
  up.kill('SIGTERM');
  await until('it has ended', () => up.exitCode !== null || up.signalCode !== null, END_MS);
  expect(await ended).toBe(0);
  expect(left.filter(alive)).toEqual([]);
}

/** A tmpfs of its own with not one byte left, and a file on it. */
class FullDisk implements Disposable {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'full', dir]);
    this.fill();
  }

  get log(): string {
    return join(this.#dir, 'log');
  }

  fill(): void {
    writeFileSync(this.log, '');
    const filler = openSync(join(this.#dir, 'filler'), 'w');
    try {
      for (;;) writeSync(filler, Buffer.alloc(4096));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(filler);
    }
  }

  makeRoom(): void {
    rmSync(join(this.#dir, 'filler'));
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['--lazy', this.#dir]);
  }
}

describe('what cannot be written stops nothing:', () => {
  it('standard error on a full disk; when there is room again, the log says how much is missing', async () => {
    await using host = await Host.prepare();
    using disk = new FullDisk(join(host.dir, 'log-disk'));
    const err = openSync(disk.log, 'a');
    const up = start(host, 'ignore', err);
    await host.ready();
    expect(readFileSync(disk.log, 'utf8')).toBe('');
    disk.makeRoom();
    await host.kill('agent');
    const lines = (): Record<string, unknown>[] =>
      readFileSync(disk.log, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const lost = await until('the log goes on', () =>
      lines().find(({ process, event }) => process === 'up' && event === 'log-lines-lost'),
    );
    expect(lost['lines']).toBeGreaterThan(0);
    disk.fill();
    await livesAndEnds(host, up);
    closeSync(err);
  });

  it('standard output and error on a full device', async () => {
    await using host = await Host.prepare();
    const full = openSync('/dev/full', 'w');
    const up = start(host, full, full);
    await livesAndEnds(host, up);
    closeSync(full);
  });

  it('a full pipe that nobody reads', async () => {
    await using host = await Host.prepare();
    const fifo = join(host.dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const err = openSync(fifo, 'w');
    try {
      for (;;) writeSync(reader, Buffer.alloc(1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
    const up = start(host, err, err);
    await livesAndEnds(host, up);
    closeSync(err);
    closeSync(reader);
  });

  it('a pipe whose reader has gone', async () => {
    await using host = await Host.prepare();
    const fifo = join(host.dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDWR);
    const err = openSync(fifo, 'w');
    const up = start(host, err, err);
    closeSync(reader);
    await livesAndEnds(host, up);
    closeSync(err);
  });

  it('a socket that nobody reads, as a journal that stands still', async () => {
    await using host = await Host.prepare();
    await livesAndEnds(host, python(host, SOCKET));
  });

  it('no standard output and error at all', async () => {
    await using host = await Host.prepare();
    const words = ['-c', 'exec "$@" >&- 2>&-', 'sh', FAIRLEAD, 'up', '--config', host.configFile];
    await livesAndEnds(host, spawn('/bin/sh', words, { stdio: 'ignore' }));
  });

  it('a terminal that hung up', async () => {
    await using host = await Host.prepare();
    await livesAndEnds(host, python(host, HUNG_UP));
  });

  it('a terminal that is stopped with Ctrl-S', async () => {
    await using host = await Host.prepare();
    await livesAndEnds(host, python(host, STOPPED));
  });
});

/** Starts `fairlead up` by a Python program that replaces itself by it. */
function python(host: Host, program: string): ChildProcess {
  const words = ['-c', program, FAIRLEAD, 'up', '--config', host.configFile];
  return spawn('/usr/bin/python3', words, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Standard output and error are one end of a pair of sockets whose other end is open and full. */
const SOCKET = `
import os, socket, sys
ours, theirs = socket.socketpair()
ours.setblocking(False)
try:
    while True:
        ours.send(bytes(65536))
except BlockingIOError:
    pass
ours.setblocking(True)
theirs.set_inheritable(True)
for descriptor in (1, 2):
    os.dup2(ours.fileno(), descriptor)
os.execv(sys.argv[1], sys.argv[1:])
`;

/** It has a terminal as its controlling one, which hangs up once the program runs. */
const HUNG_UP = `
import fcntl, os, sys, termios, time
master, slave = os.openpty()
os.setsid()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
for descriptor in (1, 2):
    os.dup2(slave, descriptor)
os.close(slave)
holder = os.fork()
if holder == 0:
    os.setsid()
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    os.dup2(1, 2)
    said = b""
    while b"ready" not in said:
        said += os.read(master, 65536)
    os._exit(0)
os.close(master)
os.execv(sys.argv[1], sys.argv[1:])
`;

/** Its terminal takes no more output, and is full. */
const STOPPED = `
import fcntl, os, sys, termios
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TCXONC if hasattr(termios, "TCXONC") else 0x540A, termios.TCOOFF)
os.set_inheritable(master, True)
for descriptor in (1, 2):
    os.dup2(slave, descriptor)
os.execv(sys.argv[1], sys.argv[1:])
`;
