// A sandbox for one test: a real cluster process in a directory of its own, mounts made through its helpers, and an end
// that leaves nothing behind. What may hang is always touched by a child process, never by the test's own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The built command line. */
export const CLI = fileURLToPath(new URL('../../../dist/sandbox/cli.js', import.meta.url));

/** What Fairlead gives a helper. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const DEADLINE_MS = 10_000;
const PAUSE_MS = 5;

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Asks again and again until `answer` gives something, up to a deadline. */
export async function until<T>(
  what: string,
  answer: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await answer();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Runs a command to its end. */
export function run(command: string, ...args: string[]): Ended {
  return spawnSync(command, args, {
    encoding: 'utf8',
    env: ENVIRONMENT,
    cwd: '/',
    timeout: DEADLINE_MS,
    killSignal: 'SIGKILL',
  });
}

/** Starts a command and goes on; `ended` tells how it ended. */
export function start(command: string, ...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(command, args, { env: ENVIRONMENT, cwd: '/' });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (output.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.stderr += data.toString()));
  const ended = new Promise<Ended>((resolve) =>
    child.on('exit', (status) => setImmediate(() => resolve({ status, ...output }))),
  );
  return { child, ended };
}

/** A process's state letter in proc(5), of its main thread. */
export function stateOf(pid: number): string {
  try {
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Whether a process waits for a FUSE server's answer. */
export function waitsForFuse(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stack`, 'utf8').includes('fuse');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

export class Sandbox {
  readonly dir: string;
  cluster: { child: ChildProcess; ended: Promise<Ended> };
  #mounts = 0;

  private constructor(dir: string) {
    this.dir = dir;
    this.cluster = start(process.execPath, CLI, 'up', dir);
  }

  /** Brings up a sandbox with a volume `vol`. */
  static async up(): Promise<Sandbox> {
    if (!existsSync(CLI)) throw new Error('build first: make build');
    const sandbox = new Sandbox(mkdtempSync(join(tmpdir(), 'sandbox.')));
    await sandbox.ready();
    sandbox.do('volume', 'vol');
    return sandbox;
  }

  /** Waits for the cluster's line. */
  async ready(): Promise<void> {
    const { child, ended } = this.cluster;
    await Promise.race([
      new Promise<void>((resolve) => child.stdout!.once('data', () => resolve())),
      ended.then(({ stderr }) => Promise.reject(new Error(`up ended: ${stderr}`))),
    ]);
  }

  /** Starts the cluster again, in the same directory. */
  async again(): Promise<void> {
    this.cluster = start(process.execPath, CLI, 'up', this.dir);
    await this.ready();
  }

  /** A subcommand with this sandbox's directory. */
  cli(subcommand: string, ...args: string[]): Ended {
    return run(process.execPath, CLI, subcommand, this.dir, ...args);
  }

  /** A subcommand that must succeed. */
  do(subcommand: string, ...args: string[]): void {
    const { status, stderr } = this.cli(subcommand, ...args);
    if (status !== 0) throw new Error(`${subcommand} ${args.join(' ')}: ${stderr}`);
  }

  /** A new directory to mount at. */
  place(): string {
    const where = join(this.dir, `m${this.#mounts++}`);
    mkdirSync(where);
    return where;
  }

  get helper(): string {
    return join(this.dir, 'bin', 'mount.quobyte');
  }

  /** Mounts a volume and answers where. */
  mount(volume = 'vol', ...options: string[]): string {
    const where = this.place();
    // Not into a pipe: a daemon that the helper leaves would keep it open, and us waiting.
    const output = openSync(`${where}.output`, 'w');
    const argv = [...options, `reg1:7861,reg2:7861/${volume}`, where];
    const { status } = spawnSync(this.helper, argv, {
      env: ENVIRONMENT,
      cwd: '/',
      timeout: DEADLINE_MS,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    if (status !== 0) throw new Error(`mount.quobyte: ${status} ${readFileSync(`${where}.output`, 'utf8')}`);
    return where;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cluster.child.kill('SIGTERM');
    const { ended, child } = this.cluster;
    const late = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
    await ended;
    clearTimeout(late);
    for (const where of mountsBelow(this.dir)) run('/bin/umount', '-l', where);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The lines of mountinfo whose mountpoint is at or below a directory. */
export function mountinfo(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => `${line.split(' ')[4] ?? ''}/`.startsWith(`${directory}/`));
}

function mountsBelow(directory: string): string[] {
  return mountinfo(directory).map((line) => line.split(' ')[4]!);
}
