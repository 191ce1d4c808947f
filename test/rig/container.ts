// Environments like those of containers, made from namespaces and capability sets alone: a process 1 that is not ours, in mount
// and process namespaces of its own, and words that run a program beside it with fewer rights. Everything in it ends with it.

import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { until } from './until.js';

/** What Docker gives a container's processes by default. */
const DOCKER = [
  'chown',
  'dac_override',
  'fsetid',
  'fowner',
  'mknod',
  'net_raw',
  'setgid',
  'setuid',
  'setfcap',
  'setpcap',
  'net_bind_service',
  'sys_chroot',
  'kill',
  'audit_write',
];

/** Sets of capabilities, as setpriv(1) wants them for `--bounding-set`. Process 1 has all that this test run has. */
export const CAPABILITIES = {
  all: '+all',
  /** Without CAP_SYS_PTRACE, and without one that process 1 has: process 1 may not be looked at. */
  fewer: '-sys_ptrace,-sys_resource',
  docker: ['-all', ...[...DOCKER, 'sys_admin'].map((name) => `+${name}`)].join(','),
} as const;

/** What is different in the environment. */
export interface ContainerOptions {
  readonly capabilities: keyof typeof CAPABILITIES;
  /** Typed as root into the shell that becomes process 1, once /tmp is a tmpfs of its own. */
  readonly prepare?: string;
}

/** An environment with a process 1 of its own. `await using` ends all that runs in it. */
export class Container implements AsyncDisposable {
  readonly #outside: ChildProcess;
  readonly #first: number;
  readonly #bounding: string;

  private constructor(outside: ChildProcess, first: number, bounding: string) {
    this.#outside = outside;
    this.#first = first;
    this.#bounding = bounding;
  }

  static async start({ capabilities, prepare = '' }: ContainerOptions): Promise<Container> {
    const script = `set -e\nmount -t tmpfs -o mode=1777 container /tmp\n${prepare}\necho started\nexec sleep infinity`;
    const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const outside = spawn('/usr/bin/unshare', [...namespaces, '/bin/sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [outside.stdout, outside.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('the container has started', () => {
      if (outside.exitCode !== null) throw new Error(said);
      return said.includes('started\n');
    });
    const children = `/proc/${String(outside.pid)}/task/${String(outside.pid)}/children`;
    return new Container(outside, Number(readFileSync(children, 'latin1').trim()), CAPABILITIES[capabilities]);
  }

  /** Words that, before a command line, have it run inside, with the capabilities that were chosen. */
  get entering(): readonly string[] {
    const rights = ['/usr/bin/setpriv', `--bounding-set=${this.#bounding}`, '--inh-caps=-all', '--'];
    return ['/usr/bin/nsenter', '--target', String(this.#first), '--mount', '--pid', '--', ...rights];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#outside.once('exit', resolve));
    this.#outside.kill('SIGKILL');
    await ended;
  }
}
