// Running the project's own programs as their users do: as processes, with arguments, exit status and output.

import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The checkout, from wherever this file was compiled to. */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));
/** The programs under test. */
export const FAIRLEAD = join(ROOT, 'bin/fairlead');
/** The stand-in cluster. */
export const SANDBOX = join(ROOT, 'bin/quobyte-sandbox');

/** How a program ended, and what it said. */
export interface Run {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link run}. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Milliseconds after which the program is killed and the call fails. */
  readonly deadlineMs?: number;
  readonly input?: string;
}

/** Runs a program to its end. Never throws for its exit status. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    uid: options.uid,
    gid: options.gid,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), options.deadlineMs ?? 60_000);
  try {
    return await new Promise<Run>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) =>
        resolve({ status, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
      );
    });
  } finally {
    clearTimeout(timer);
  }
}

/** What a program prints that must succeed, and that must not complain. */
export async function must(program: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(program, args);
  if (status !== 0 || stderr !== '')
    throw new Error(`${[program, ...args].join(' ')} ended with ${String(status)}: ${stderr}`);
  return stdout.trim();
}

/** A program that keeps running, with what it has said so far. */
export interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Resolves with status and signal when it has ended. */
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Starts a program that keeps running. */
export function launch(program: string, args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    uid: options.uid,
    gid: options.gid,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString()).slice(-400_000);
  };
  child.stdout.on('data', listen);
  child.stderr.on('data', listen);
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('exit', (status, signal) => resolve({ status, signal }));
    child.on('error', () => resolve({ status: 127, signal: null }));
  });
  return { child, output: () => said, ended };
}

function findRoot(from: string): string {
  let directory = from;
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('no package.json above this file');
    directory = parent;
  }
  return directory;
}
