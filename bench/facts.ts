// What was measured with, and on what: figures without it mean nothing.

import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { interpreter } from '../sandbox/helper/helpers.js';
import { VERSION } from '../src/core/version.js';
import { ROOT, run } from '../test/rig/programs.js';
import { PYTHON } from './subjects.js';

/** Versions of everything that takes part. */
export interface Versions {
  readonly name: 'versions';
  readonly fairlead: string;
  /** The commit, with a `+` behind it where the checkout has changes; null where there is none. */
  readonly commit: string | null;
  readonly node: string;
  readonly python: string;
  readonly nova: string;
  readonly kernel: string;
  /** What runs the stand-in mount helper. */
  readonly helper: string;
}

/** The machine. */
export interface MachineFacts {
  readonly name: 'machine';
  readonly processor: string;
  readonly processors: number;
  readonly memoryMiB: number;
  /** Load average of the last minute before the run began: what else the machine was doing. */
  readonly load: number;
}

const ASK_PYTHON = `
import importlib.metadata, platform
print(platform.python_version())
print(importlib.metadata.version("nova"))
`;

/** Asks for the versions. */
export async function versions(): Promise<Versions> {
  const [python = '', nova = ''] = (await ask(PYTHON, ['-c', ASK_PYTHON])).split('\n');
  return {
    name: 'versions',
    fairlead: VERSION,
    commit: await commit(),
    node: process.version.slice(1),
    python,
    nova,
    kernel: release(),
    helper: interpreter(),
  };
}

async function commit(): Promise<string | null> {
  const head = await run('git', ['-C', ROOT, 'rev-parse', '--short', 'HEAD']);
  if (head.status !== 0) return null;
  const changes = await run('git', ['-C', ROOT, 'status', '--porcelain', '--untracked-files=no']);
  return `${head.stdout.trim()}${changes.stdout === '' ? '' : '+'}`;
}

async function ask(program: string, args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(program, args);
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout.trim();
}

/** Looks at the machine. */
export function machineFacts(): MachineFacts {
  const processors = cpus();
  return {
    name: 'machine',
    processor: processors[0]?.model.trim() ?? 'unknown',
    processors: processors.length,
    memoryMiB: Math.round(totalmem() / 1_048_576),
    load: Number.parseFloat(readFileSync('/proc/loadavg', 'latin1')),
  };
}
