// A container of systemd-nspawn on an overlay of this host's own root directory, so nothing of it outlives the test and
// nothing has to be downloaded: with a real systemd in it, or without one. Needs root and Debian's systemd-container package.

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { launch, ROOT, run, type Run, type Running } from './programs.js';
import { until } from './until.js';

const NSPAWN = '/usr/bin/systemd-nspawn';
/** Control group hierarchies in which a container gets a group of its own; otherwise two of them would share one. */
const HIERARCHIES = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd'];
/** Joins the groups that are named before `--`, then becomes the rest. */
const JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"';
/** Where {@link SystemdContainer.shared} is inside. */
const SHARED = '/srv/rig';
/** Milliseconds to boot, on a busy machine. */
const BOOT_MS = 60_000;

/** Why no container can be booted here; null if one can. */
export function whyNoSystemd(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(NSPAWN)) return `needs ${NSPAWN} (package systemd-container)`;
  if (!existsSync('/usr/lib/systemd/systemd') && !existsSync('/lib/systemd/systemd')) return 'needs systemd itself';
  return null;
}

/** A booted container. `await using` ends it. */
export class SystemdContainer implements AsyncDisposable {
  /** A directory that is both here and, as {@link inside}, in the container. */
  readonly shared: string;
  readonly inside = SHARED;
  readonly #scratch: string;
  readonly #nspawn: ChildProcess;
  readonly #leader: number;
  readonly #groups: readonly string[];

  private constructor(scratch: string, nspawn: ChildProcess, leader: number, groups: readonly string[]) {
    this.#scratch = scratch;
    this.shared = join(scratch, 'shared');
    this.#nspawn = nspawn;
    this.#leader = leader;
    this.#groups = groups;
  }

  /** Boots to `basic.target`; takes a second or two. */
  static async boot(): Promise<SystemdContainer> {
    const container = await SystemdContainer.#start('systemd', ['--boot', 'systemd.unit=basic.target']);
    const isUp = async (): Promise<boolean> => {
      const { stdout } = await container.run('systemctl', ['is-system-running']);
      return ['running', 'degraded'].includes(stdout.trim());
    };
    await until('systemd is running', isUp, BOOT_MS).catch((error: unknown) => fail(container.#scratch, error));
    return container;
  }

  /** The same container with another process 1, and no systemd. */
  static withoutSystemd(): Promise<SystemdContainer> {
    return SystemdContainer.#start('sleep', ['/bin/sleep', 'infinity']);
  }

  static async #start(first: string, words: readonly string[]): Promise<SystemdContainer> {
    const scratch = mkdtempSync('/tmp/fairlead-systemd-');
    await must('mount', ['-t', 'tmpfs', 'systemd-container', scratch]);
    for (const name of ['upper', 'work', 'root', 'shared']) mkdirSync(join(scratch, name));
    const layers = `lowerdir=/,upperdir=${scratch}/upper,workdir=${scratch}/work`;
    await must('mount', ['-t', 'overlay', 'overlay', '-o', layers, join(scratch, 'root')]);
    writeFileSync(join(scratch, 'root/etc/machine-id'), '');
    const name = `fairlead-rig-${randomBytes(6).toString('hex')}`;
    const groups = HIERARCHIES.filter((hierarchy) => existsSync(join(hierarchy, 'cgroup.procs'))).map((hierarchy) =>
      join(hierarchy, name),
    );
    for (const group of groups) mkdirSync(group);
    const console = openSync(join(scratch, 'console'), 'w');
    const nspawn = spawn(
      '/bin/sh',
      [
        '-c',
        JOIN,
        'join',
        ...groups,
        '--',
        NSPAWN,
        '--quiet',
        '--register=no',
        '--keep-unit',
        '--capability=all',
        '--bind=/dev/fuse',
        `--bind=${scratch}/shared:${SHARED}`,
        `--bind=${ROOT}`,
        `--machine=${name}`,
        `--directory=${scratch}/root`,
        ...words,
      ],
      { stdio: ['ignore', console, console], env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' } },
    );
    closeSync(console);
    const isStarted = (): number | undefined => initOf(nspawn.pid ?? 0, first);
    const leader = await until(`${first} has been started`, isStarted, BOOT_MS).catch((error: unknown) =>
      fail(scratch, error),
    );
    return new SystemdContainer(scratch, nspawn, leader, groups);
  }

  /** Words that, before a command line, have it run inside, in all of PID 1's namespaces. */
  get entering(): readonly string[] {
    return ['/usr/bin/nsenter', ...this.#enter()];
  }

  /** Runs a program inside, in all of PID 1's namespaces. */
  run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
    return run('nsenter', [...this.#enter(), program, ...args], { env });
  }

  /** Starts a program inside that keeps running. */
  launch(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    return launch('nsenter', [...this.#enter(), program, ...args], { env });
  }

  /** Where a path of {@link shared} is inside. */
  path(name: string): string {
    return join(SHARED, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#nspawn.once('exit', resolve));
    this.#nspawn.kill('SIGKILL');
    try {
      process.kill(this.#leader, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await ended;
    for (const group of this.#groups) await until(`${group} is removed`, () => removeGroups(group));
    await run('umount', ['--recursive', '--lazy', this.#scratch]);
    rmSync(this.#scratch, { recursive: true });
  }

  #enter(): readonly string[] {
    return ['--target', String(this.#leader), '--all', '--'];
  }
}

/** Fails with what the container's console says. */
function fail(scratch: string, error: unknown): never {
  throw new Error(`${String(error)}\n${readFileSync(join(scratch, 'console'), 'utf8').slice(-4000)}`);
}

async function must(program: string, args: readonly string[]): Promise<void> {
  const end = await run(program, args);
  if (end.status !== 0) throw new Error(`${program} failed: ${end.stderr}`);
}

/** Removes a tree of control groups; false while somebody is still in one. */
function removeGroups(group: string): boolean {
  if (!existsSync(group)) return true;
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory() && !removeGroups(join(group, entry.name))) return false;
  }
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

/**
 * PID 1 of the container: the child of nspawn that has become this program. Before that there is another child for a
 * moment, which sets the namespaces up.
 */
function initOf(nspawn: number, program: string): number | undefined {
  try {
    return readdirSync(`/proc/${nspawn}/task`)
      .flatMap((thread) => readFileSync(`/proc/${nspawn}/task/${thread}/children`, 'latin1').split(' '))
      .filter(Boolean)
      .map(Number)
      .find((child) => readFileSync(`/proc/${child}/comm`, 'latin1') === `${program}\n`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
