// A host for one test: a sandbox cluster, a configuration, `fairlead up`, and the eyes of an operator. Everything lives in
// one temporary directory and in the mount and process namespaces that the test run was started in, so that a killed run
// leaves nothing behind.

import { chmodSync, closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { running } from './processes.js';
import { FAIRLEAD, launch, run, SANDBOX, type Run, type Running, type RunOptions } from './programs.js';
import { until } from './until.js';

/** What a command answered, as a program sees it. */
export interface Answer {
  readonly status: number | null;
  readonly body: Readonly<Record<string, unknown>>;
  /** The body's error, if it is one. */
  readonly error:
    | {
        readonly code: string;
        readonly message: string;
        readonly field?: string;
        readonly leaf?: string;
        readonly helperOutput?: string;
      }
    | undefined;
}

/** Options of a host. */
export interface HostOptions {
  /** Changes the configuration before the first start. */
  readonly configure?: (toml: string) => string;
  /** Environment of `fairlead up`. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A host that has nothing to do with libvirt, whatever lies on the one that the test runs on. */
export const WITHOUT_LIBVIRT: HostOptions = { configure: (toml) => `${toml}\n[libvirt]\nenabled = "no"\n` };

/** One line of the kernel's own mount table, as this process sees it. */
export interface SeenMount {
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  readonly options: string;
  readonly dev: string;
}

const PROCESSES = ['agent', 'broker', 'hypervisor'] as const;

/** The processes of `fairlead up`, by the names of their locks. */
type Process = (typeof PROCESSES)[number];

/** A host. Make it with {@link Host.boot}; dispose of it with `await using` or {@link Host.shutDown}. */
export class Host {
  readonly dir: string;
  readonly configFile: string;
  readonly socket: string;
  readonly quobyteBase: string;
  readonly localBase: string;
  readonly localRoot: string;
  #cluster: Running | null = null;
  #up: Running | null = null;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(dir: string, env: Readonly<Record<string, string>>) {
    this.dir = dir;
    this.#env = env;
    this.configFile = join(dir, 'fairlead.toml');
    this.socket = join(dir, 'fairlead/run/agent.sock');
    this.quobyteBase = join(dir, 'fairlead/mnt/quobyte');
    this.localBase = join(dir, 'fairlead/mnt/local');
    this.localRoot = join(dir, 'local');
  }

  /** A sandbox cluster and a configuration for it; Fairlead is not started yet. */
  static async prepare(options: HostOptions = {}): Promise<Host> {
    const dir = mkdtempSync('/tmp/fairlead-test-');
    chmodSync(dir, 0o755);
    const host = new Host(dir, options.env ?? {});
    await host.startCluster();
    const printed = await run(SANDBOX, ['config', dir]);
    if (printed.status !== 0) throw new Error(`the sandbox printed no configuration: ${printed.stderr}`);
    mkdirSync(host.localRoot, { recursive: true });
    writeFileSync(host.configFile, (options.configure ?? ((toml) => toml))(printed.stdout), { mode: 0o644 });
    return host;
  }

  /** A host with Fairlead up and ready. */
  static async boot(options: HostOptions = {}): Promise<Host> {
    const host = await Host.prepare(options);
    await host.up();
    return host;
  }

  /** Starts the stand-in cluster. */
  async startCluster(): Promise<void> {
    const cluster = launch(SANDBOX, ['up', this.dir]);
    this.#cluster = cluster;
    await until(
      'the sandbox cluster is ready',
      () => cluster.output().includes('\n') || failed(cluster, 'the cluster'),
      20_000,
    );
  }

  /** Kills the stand-in cluster: all its mounts lose their connection. */
  async killCluster(): Promise<void> {
    this.#cluster?.child.kill('SIGKILL');
    await this.#cluster?.ended;
  }

  /** Starts `fairlead up` and waits until it is ready. */
  async up(env: Readonly<Record<string, string>> = {}): Promise<Running> {
    const up = this.launchUp(env);
    await this.ready(up);
    return up;
  }

  /** Starts `fairlead up` without waiting. */
  launchUp(env: Readonly<Record<string, string>> = {}): Running {
    this.#up = launch(FAIRLEAD, ['up', '--config', this.configFile], { env: { ...this.#env, ...env } });
    return this.#up;
  }

  /** Waits until `fairlead ls` answers and everything from before the start has been worked off. */
  async ready(up: Running | null = this.#up): Promise<void> {
    await until(
      'fairlead is ready',
      async () => {
        if (up !== null) failed(up, 'fairlead up');
        const { status, body } = await this.ask('ls');
        return (
          status === 0 &&
          (body as { state?: string }).state === 'ready' &&
          (body as { broker?: string }).broker === 'connected'
        );
      },
      30_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${up?.output() ?? ''}`);
    });
  }

  /** What `fairlead up` has printed so far. */
  log(): string {
    return this.#up?.output() ?? '';
  }

  /** Ends `fairlead up` with SIGTERM and waits for its end. */
  async down(): Promise<number | null> {
    const up = this.#up;
    if (up === null) return null;
    up.child.kill('SIGTERM');
    const { status } = await up.ended;
    this.#up = null;
    return status;
  }

  /** Kills `fairlead up` and all its processes at once, as a power cut would. */
  async crash(): Promise<void> {
    const pids = PROCESSES.map((who) => this.pid(who));
    this.#up?.child.kill('SIGKILL');
    for (const pid of pids) kill(pid);
    await this.#up?.ended;
    await until('its processes are gone', () => pids.every((pid) => pid === null || !alive(pid)));
    this.#up = null;
  }

  /** The process that holds this lock. */
  pid(who: Process): number | null {
    try {
      const pid = Number.parseInt(readFileSync(join(this.dir, `fairlead/run/${who}.lock`), 'utf8'), 10);
      return Number.isInteger(pid) && alive(pid) ? pid : null;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    }
  }

  /** Kills one of the processes with SIGKILL, and waits until another one has taken its place. */
  async kill(who: Process): Promise<void> {
    const pid = this.pid(who);
    if (pid === null) throw new Error(`there is no ${who}`);
    process.kill(pid, 'SIGKILL');
    await until(
      `another ${who}`,
      () => {
        const next = this.pid(who);
        return next !== null && next !== pid;
      },
      20_000,
    );
    await this.ready();
  }

  /** Runs `fairlead` as a person does. */
  fairlead(args: readonly string[], options: RunOptions = {}): Promise<Run> {
    return run(FAIRLEAD, args, { ...options, env: { FAIRLEAD_SOCKET: this.socket, ...options.env } });
  }

  /** Runs `fairlead … --json` as a program does. */
  async ask(...args: readonly string[]): Promise<Answer> {
    const { status, stdout, stderr } = await this.fairlead([...args, '--json']);
    try {
      const body = JSON.parse(stdout) as Answer['body'];
      return { status, body, error: body['error'] as Answer['error'] };
    } catch (error) {
      throw new Error(`not one JSON object (exit ${status}): ${stdout} ${stderr}`, { cause: error });
    }
  }

  /** Runs a `quobyte-sandbox` command on this host's cluster; fails if it fails. */
  async sandbox(command: string, ...args: readonly string[]): Promise<Run> {
    const done = await run(SANDBOX, [command, this.dir, ...args]);
    if (done.status !== 0) throw new Error(`quobyte-sandbox ${command} failed: ${done.stderr}`);
    return done;
  }

  /** A new Quobyte volume, and its URL. */
  async volume(name: string, registries = 'reg1:7861,reg2:7861'): Promise<string> {
    await this.sandbox('volume', name);
    return `quobyte://${registries}/${name}`;
  }

  /** A new directory that is a local volume, and its URL. */
  localVolume(name: string): string {
    mkdirSync(join(this.localRoot, name), { recursive: true });
    return `local://${this.localRoot}/${name}`;
  }

  /** Mounts below a directory, from the kernel's own table. */
  mounts(below = join(this.dir, 'fairlead/mnt')): readonly SeenMount[] {
    return mountTable().filter(({ mountPoint }) => mountPoint.startsWith(`${below}/`));
  }

  /** A new directory beside the mounts. */
  place(): string {
    return mkdtempSync(join(this.dir, 'place-'));
  }

  /** Ends everything of this host and removes its directory. */
  async shutDown(): Promise<void> {
    await this.down();
    this.#cluster?.child.kill('SIGTERM');
    const ended = this.#cluster?.ended;
    if (ended !== undefined) {
      const timer = setTimeout(() => this.#cluster?.child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(timer);
    }
    for (const { mountPoint } of [...this.mounts(this.dir)].reverse()) await run('/bin/umount', ['-l', mountPoint]);
    // Helpers that hang for ever, and clients that take their time: their superblocks would be doubts of later tests.
    for (const { pid } of running(`${this.dir}/`)) process.kill(pid, 'SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutDown();
  }
}

/** The kernel's mount table of this process's namespace. */
export function mountTable(): readonly SeenMount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , dev = '', , mountPoint = '', options = ''] = left.split(' ');
      const [fsType = '', source = ''] = right.split(' ');
      return { mountPoint, fsType, source, options, dev };
    });
}

/** The leaf of a volume URL, by the rule that users may rely on. */
export function leafOfUrl(url: string): string {
  return createHash('md5')
    .update(url.replace(/^quobyte:\/\//, '').replace(/^local:\/\//, ''))
    .digest('hex');
}

/** Closes a descriptor on a mount that may be dead: the kernel frees it, and says ENOTCONN. */
export function closeOnDead(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOTCONN')) throw error;
  }
}

/** Whether a process exists and is not a zombie. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return false;
    throw error;
  }
}

function kill(pid: number | null): void {
  if (pid === null || !alive(pid)) return;
  process.kill(pid, 'SIGKILL');
}

function failed(program: Running, name: string): false {
  if (program.child.exitCode !== null || program.child.signalCode !== null) {
    throw new Error(`${name} ended: ${program.output()}`);
  }
  return false;
}
