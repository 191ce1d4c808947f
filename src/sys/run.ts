// The only place that starts processes. Always a program by its absolute path and an argument array, never a shell; a
// fixed environment, `/` as working directory, nothing on standard input, a session of its own. What they print goes into
// sealed memory and never into a pipe: it is bounded, and a daemon that keeps it does not die with us.

import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { readSync } from 'node:fs';
import { MAX_HELPER_OUTPUT_BYTES, MAX_TOOL_OUTPUT_BYTES, MAX_TOOLS } from '../core/limits.js';
import { sealedMemory } from './libc/descriptors.js';
import { errnoOf } from './libc/errors.js';
import type { Handle } from './libc/files.js';
import { Places } from './places.js';

/** The environment of everything that is started, whatever ours is. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } as const;

/** How a process ended. `not-started`: it never existed; `errno` tells why. */
export type ProcessEnd =
  | { readonly end: 'exited'; readonly status: number }
  | { readonly end: 'signalled'; readonly signal: string }
  | { readonly end: 'not-started'; readonly errno: string };

/** A process that was started, or was tried to. */
export interface StartedProcess {
  /** 0 when it could not be started. */
  readonly pid: number;
  /** Never rejects. The process itself is meant, not what it leaves behind. */
  readonly ended: Promise<ProcessEnd>;
}

/** Bounded memory for what a process prints. Standard output and error share it, in the order of writing. */
export function outputMemory(bytes: number = MAX_HELPER_OUTPUT_BYTES): Handle {
  return sealedMemory('output', bytes);
}

/** What has been printed so far, decoded as UTF-8. */
export function printed(memory: Handle, bytes: number = MAX_HELPER_OUTPUT_BYTES): string {
  const buffer = Buffer.alloc(bytes);
  const read = readSync(memory.fd, buffer, 0, bytes, 0);
  // The memory has its full size from the start; what nobody wrote is zero.
  let end = read;
  while (end > 0 && buffer[end - 1] === 0) end -= 1;
  return buffer.toString('utf8', 0, end);
}

/**
 * Starts a helper: in a session of its own, outliving us. `forked` is what runs directly before and after the fork, so
 * that the child can be born in a place of its choice.
 */
export function startHelper(
  program: string,
  args: readonly string[],
  output: Handle,
  forked: { readonly before: () => void; readonly after: () => void },
): StartedProcess {
  forked.before();
  try {
    const child = begin(program, args, { stdio: ['ignore', output.fd, output.fd] });
    child.unref();
    return started(child);
  } finally {
    forked.after();
  }
}

/** How a short tool of the system ended. `deadline`: it was killed, and has perhaps not gone yet. */
export type ToolEnd =
  | { readonly end: 'exited'; readonly status: number; readonly stdout: string; readonly stderr: string }
  | { readonly end: 'signalled' | 'deadline' }
  | { readonly end: 'not-started'; readonly errno: string };

const tools = new Places(MAX_TOOLS);

/** Runs a tool of the system (systemctl and its like) to its end, at most `budgetMs`, in which it may have to wait for others. */
export async function runTool(program: string, args: readonly string[], budgetMs: number): Promise<ToolEnd> {
  const until = performance.now() + budgetMs;
  if (!(await tools.take(budgetMs))) return { end: 'deadline' };
  let over: Promise<unknown> = Promise.resolve();
  try {
    using stdout = outputMemory(MAX_TOOL_OUTPUT_BYTES);
    using stderr = outputMemory(MAX_TOOL_OUTPUT_BYTES);
    const { pid, ended } = started(begin(program, args, { stdio: ['ignore', stdout.fd, stderr.fd] }));
    over = ended;
    const end = await within(ended, until - performance.now());
    switch (end?.end) {
      case undefined:
        killSession(pid);
        return { end: 'deadline' };
      case 'exited':
        return {
          end: 'exited',
          status: end.status,
          stdout: printed(stdout, MAX_TOOL_OUTPUT_BYTES),
          stderr: printed(stderr, MAX_TOOL_OUTPUT_BYTES),
        };
      case 'signalled':
        return { end: 'signalled' };
      case 'not-started':
        return { end: 'not-started', errno: end.errno };
    }
  } finally {
    void over.then(() => tools.give());
  }
}

/** A program that works on open files. */
export interface FileTool {
  readonly program: string;
  readonly args: readonly string[];
  /** Descriptors of ours; the program finds them as 3, 4 … in this order. */
  readonly descriptors: readonly number[];
}

/** Runs a tool on open files to its end, at most `budgetMs`. It is of our own process group, so whoever ends that ends it. */
export async function runOnFiles({ program, args, descriptors }: FileTool, budgetMs: number): Promise<ToolEnd> {
  using output = outputMemory(MAX_TOOL_OUTPUT_BYTES);
  const child = begin(program, args, { stdio: ['ignore', output.fd, output.fd, ...descriptors], detached: false });
  const end = await within(started(child).ended, budgetMs);
  switch (end?.end) {
    case undefined:
      child.kill('SIGKILL');
      return { end: 'deadline' };
    case 'exited':
      return { end: 'exited', status: end.status, stdout: '', stderr: printed(output, MAX_TOOL_OUTPUT_BYTES) };
    case 'signalled':
      return { end: 'signalled' };
    case 'not-started':
      return { end: 'not-started', errno: end.errno };
  }
}

/** SIGKILL to the process group of a process that was started here, and so leads one. */
export function killSession(pid: number): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** A program of ours, run by the Node that runs us. */
export interface NodeProgram {
  /** The module's absolute path. */
  readonly module: string;
  readonly args: readonly string[];
  /** Added to the fixed environment. */
  readonly env: Readonly<Record<string, string>>;
  /** `ours`: it writes where we do. */
  readonly output: 'ours' | 'none';
}

/** A running program of ours, with a channel of messages to it. */
export interface NodeChild {
  readonly pid: number;
  /** Queues a message (JSON); after the child's end it does nothing. */
  send(message: object): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Once; at once when the child has ended already. */
  onEnd(listener: (end: ProcessEnd) => void): void;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** From now on the child does not keep us from ending. */
  unref(): void;
}

/** Starts a program of ours. Throws the error of the fork (EAGAIN, ENOMEM …) only through `onEnd`; `pid` is 0 then. */
export function startNode(program: NodeProgram): NodeChild {
  const output = program.output === 'ours' ? 'inherit' : 'ignore';
  const child = begin(process.execPath, [program.module, ...program.args], {
    env: { ...ENVIRONMENT, ...program.env },
    stdio: ['ignore', output, output, 'ipc'],
  });
  const { pid, ended } = started(child);
  // A channel that breaks is a child that ends; its end is told by the exit.
  const ignored = (): void => undefined;
  return {
    pid,
    send: (message) => {
      if (child.connected) child.send(message, ignored);
    },
    onMessage: (listener) => {
      child.on('message', listener);
    },
    onEnd: (listener) => {
      void ended.then(listener);
    },
    kill: (signal) => {
      child.kill(signal);
    },
    unref: () => {
      child.unref();
      child.channel?.unref();
    },
  };
}

function begin(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  if (!program.startsWith('/')) throw new RangeError('a program must be named by its absolute path');
  return spawn(program, args, { cwd: '/', env: ENVIRONMENT, detached: true, ...options });
}

/** Children that were started here and whose end has not been told yet. */
const ownChildren = new Set<number>();

/** Whether somebody here waits for this child's end, and so takes its exit status. */
export function isOwnChild(pid: number): boolean {
  return ownChildren.has(pid);
}

function started(child: ChildProcess): StartedProcess {
  const { pid = 0 } = child;
  if (pid !== 0) ownChildren.add(pid);
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve({ end: 'not-started', errno: errnoOf(error) ?? 'EINVAL' });
    });
    // 'exit' and not 'close': a daemon may keep the descriptors for years.
    child.once('exit', (status, signal) => {
      ownChildren.delete(pid);
      resolve(status === null ? { end: 'signalled', signal: signal ?? 'SIGKILL' } : { end: 'exited', status });
    });
  });
  return { pid, ended };
}

/** The value, or undefined when the time is up first. */
export async function within<T>(value: Promise<T>, budgetMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, budgetMs, undefined);
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    clearTimeout(timer);
  }
}
