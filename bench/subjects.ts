// What is measured: each subject connects and disconnects the same records in its own way, and says how long each took.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { join } from 'node:path';
import { Client } from '../test/rig/client.js';
import { leafOfUrl, type Host } from '../test/rig/host.js';
import { ROOT } from '../test/rig/programs.js';

/** Debian's own Python, which has Nova; another one may be first on the PATH. */
export const PYTHON = '/usr/bin/python3';

/** One call: which volume, which disk of it, for which instance. */
export interface Job {
  readonly export: string;
  readonly name: string;
  readonly instance: string;
}

/** Milliseconds of each job, and of all of them together. */
export interface Times {
  readonly ms: readonly number[];
  readonly allMs: number;
}

/** `again`: the instance has the volume already, as after a hard reboot. */
export type Verb = 'connect' | 'disconnect' | 'probe' | 'prepare';

/** Whether jobs run one after the other, or all at the same time. */
export type Manner = 'one by one' | 'at once';

/** One of those that are compared. */
export interface Subject {
  readonly name: SubjectName;
  /** Where it mounts a job's volume. */
  mountpointOf(job: Job): string;
  run(verb: Verb, jobs: readonly Job[], manner: Manner): Promise<Times>;
  close(): void;
}

/** In the order in which they are shown. */
export const SUBJECTS = ['nova-own', 'nova-fairlead', 'fairlead', 'bare'] as const;
/** See {@link SUBJECTS}. */
export type SubjectName = (typeof SUBJECTS)[number];

/** Nova's own driver, Fairlead's driver in Nova, or the bare helpers: each in a Python process of its own. */
export class InPython implements Subject {
  readonly name: SubjectName;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  readonly #mountpointOf: (job: Job) => string;

  private constructor(name: SubjectName, host: Host, mountpointOf: (job: Job) => string, options: object) {
    this.name = name;
    this.#mountpointOf = mountpointOf;
    const PATH = `${join(host.dir, 'bin')}:${process.env['PATH'] ?? ''}`;
    this.#child = spawn(PYTHON, [join(ROOT, 'bench/harness.py'), name, JSON.stringify(options)], {
      env: { ...process.env, PATH, PYTHONPATH: join(ROOT, 'integrations/nova'), FAIRLEAD_SOCKET: host.socket },
    });
    this.#child.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.#child.stdout);
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** Starts the process and waits until everything is loaded. */
  static async start(name: 'nova-own' | 'nova-fairlead' | 'bare', host: Host): Promise<InPython> {
    const mountBase = name === 'nova-fairlead' ? host.quobyteBase : join(host.dir, name);
    const leaf = (job: Job): string => (name === 'bare' ? job.export.replaceAll('/', '_') : leafOfUrl(job.export));
    const options = {
      mountBase,
      lockPath: join(host.dir, 'locks'),
      mountHelper: join(host.dir, 'bin/mount.quobyte'),
      unmountHelper: join(host.dir, 'bin/umount.quobyte'),
      socket: host.socket,
    };
    const started = new InPython(name, host, (job) => join(mountBase, leaf(job)), options);
    await started.#next();
    return started;
  }

  mountpointOf(job: Job): string {
    return this.#mountpointOf(job);
  }

  async run(verb: Verb, jobs: readonly Job[], manner: Manner): Promise<Times> {
    this.#child.stdin.write(`${JSON.stringify({ verb, jobs, atOnce: manner === 'at once' })}\n`);
    const { failures, ...times } = (await this.#next()) as Times & { readonly failures: readonly string[] };
    if (failures.length > 0) throw new Error(`${this.name} failed to ${verb}: ${failures.join('; ')}`);
    return times;
  }

  close(): void {
    this.#child.stdin.end();
    this.#lines.close();
  }

  async #next(): Promise<unknown> {
    const line = await this.#answers.next();
    if (line.done === true) throw new Error(`the process of ${this.name} ended`);
    return JSON.parse(line.value);
  }
}

/** Fairlead's HTTP door asked from this process, so that Python's share in the others can be told. */
export class OverHttp implements Subject {
  readonly name = 'fairlead';
  readonly #client: Client;
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
    this.#client = new Client(host.socket);
  }

  mountpointOf(job: Job): string {
    return join(this.#host.quobyteBase, leafOfUrl(job.export));
  }

  async run(verb: Verb, jobs: readonly Job[], manner: Manner): Promise<Times> {
    if (verb !== 'connect' && verb !== 'disconnect') throw new Error(`the door has no ${verb}`);
    const one = async (job: Job): Promise<number> => {
      const begun = performance.now();
      const body = { disk: job.name };
      const { status, code } = await this.#client[verb](`quobyte://${job.export}`, `nova:${job.instance}`, body);
      if (status !== 200) throw new Error(`${verb} was answered ${status} ${code ?? ''}`);
      return performance.now() - begun;
    };
    const begun = performance.now();
    const ms: number[] = [];
    if (manner === 'at once') ms.push(...(await Promise.all(jobs.map(one))));
    else for (const job of jobs) ms.push(await one(job));
    return { ms, allMs: performance.now() - begun };
  }

  close(): void {
    this.#client.close();
  }
}
