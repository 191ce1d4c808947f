// The two processes that serve: the cluster (`up`), and one mount's own server (`serve`, started by a helper). Their main
// threads only wait for signals and for the end of the serving thread; ending the process closes what is still open.
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { prepareForFairlead } from './config.js';
import { ask } from './control.js';
import { eventfd, flock, must, write } from './fuse/libc.js';
import { interpreter, writeHelpers } from './helper/helpers.js';
import type { Layout } from './layout.js';
import type { ServerOptions } from './server.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const SCRIPT = fileURLToPath(new URL('./cli.js', import.meta.url));

/** Prepares DIR and serves it until SIGTERM or SIGINT. Answers the exit status. */
export async function up(layout: Layout): Promise<number> {
  if (process.getuid?.() !== 0) {
    process.stderr.write('quobyte-sandbox: only root can mount: run it as root\n');
    return 1;
  }
  prepareForFairlead(layout);
  const lock = openSync(layout.lock, 'a', 0o600);
  if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
    process.stderr.write(`quobyte-sandbox: ${layout.dir} is up already: another process serves it\n`);
    return 1;
  }
  directory(layout.bin, 0o755);
  for (const kept of [layout.volumes, layout.faults, layout.servers]) directory(kept, 0o700);
  writeHelpers(layout.bin, SCRIPT, interpreter());
  rmSync(layout.socket, { force: true }); // we hold the lock, so whoever made it is dead
  const status = await serve({ layout, command: [process.execPath, SCRIPT], stop: 0 }, () => {
    process.stdout.write(`quobyte-sandbox: ready in ${layout.dir}\n`);
  });
  for (const own of readdirSync(layout.servers)) await ask(join(layout.servers, own), ['stop']).catch(() => undefined);
  closeSync(lock);
  return status;
}

/** Serves one mount whose descriptor was inherited, until it is gone. */
export function serveOne(layout: Layout, volume: string, fd: number, xattrs: 'offered' | 'disabled'): Promise<number> {
  process.on('SIGHUP', () => undefined);
  return serve({ layout, command: [], stop: 0, inherited: { fd, volume, xattrs } }, () => undefined);
}

async function serve(options: ServerOptions, ready: () => void): Promise<number> {
  process.chdir('/'); // nobody's mount stays busy because of us
  const stop = must(eventfd(0, EFD_NONBLOCK_CLOEXEC), 'eventfd');
  const wake = Buffer.alloc(8);
  wake.writeBigUInt64LE(1n);
  const end = (): void => void write(stop, wake, wake.length);
  process.on('SIGTERM', end).on('SIGINT', end);
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: { ...options, stop } satisfies ServerOptions,
    trackUnmanagedFds: false, // the thread's descriptors are libc's and Node's by turns
  });
  worker.once('message', ready);
  return new Promise((resolve) => {
    worker.once('error', (error) => {
      process.stderr.write(
        `quobyte-sandbox: the serving thread failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
      resolve(70);
    });
    worker.once('exit', (code) => resolve(code));
  });
}

/** Makes a directory that belongs to root and is as open as `mode` says, also if it exists. */
function directory(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode });
  if ((statSync(path).mode & 0o7777) !== mode) chmodSync(path, mode);
}
