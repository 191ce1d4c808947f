// A real systemd for tests: booted in a container on an overlay of this host's own root directory, so nothing of it
// outlives the test and nothing has to be downloaded. Needs root and Debian's systemd-container package.

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launch, ROOT, run, type Run, type Running } from './programs.js';
import { until } from './until.js';

const NSPAWN = '/usr/bin/systemd-nspawn';
/** Where {@link SystemdContainer.shared} is inside. */
const SHARED = '/srv/rig';

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

  private constructor(scratch: string, nspawn: ChildProcess, leader: number) {
    this.#scratch = scratch;
    this.shared = join(scratch, 'shared');
    this.#nspawn = nspawn;
    this.#leader = leader;
  }

  /** Boots to `basic.target`; takes a second or two. */
  static async boot(): Promise<SystemdContainer> {
    const scratch = mkdtempSync('/tmp/fairlead-systemd-');
    await must('mount', ['-t', 'tmpfs', 'systemd-container', scratch]);
    for (const name of ['upper', 'work', 'root', 'shared']) mkdirSync(join(scratch, name));
    const layers = `lowerdir=/,upperdir=${scratch}/upper,workdir=${scratch}/work`;
    await must('mount', ['-t', 'overlay', 'overlay', '-o', layers, join(scratch, 'root')]);
    writeFileSync(join(scratch, 'root/etc/machine-id'), '');
    const nspawn = spawn(
      NSPAWN,
      [
        '--quiet',
        '--register=no',
        '--keep-unit',
        '--capability=all',
        '--bind=/dev/fuse',
        `--bind=${scratch}/shared:${SHARED}`,
        `--bind=${ROOT}`,
        `--machine=fairlead-${process.pid}`,
        `--directory=${scratch}/root`,
        '--boot',
        'systemd.unit=basic.target',
      ],
      { stdio: 'ignore', env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' } },
    );
    const leader = await until('systemd has been started', () => childOf(nspawn.pid ?? 0), 20_000);
    const container = new SystemdContainer(scratch, nspawn, leader);
    await until(
      'systemd is running',
      async () =>
        ['running', 'degraded'].includes((await container.run('systemctl', ['is-system-running'])).stdout.trim()),
      30_000,
    );
    return container;
  }

  /** Runs a program inside, in all of PID 1's namespaces. */
  run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
    return run('nsenter', this.#enter(program, args), { env });
  }

  /** Starts a program inside that keeps running. */
  launch(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    return launch('nsenter', this.#enter(program, args), { env });
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
    await run('umount', ['--recursive', '--lazy', this.#scratch]);
    rmSync(this.#scratch, { recursive: true });
  }

  #enter(program: string, args: readonly string[]): string[] {
    return ['--target', String(this.#leader), '--all', '--', program, ...args];
  }
}

async function must(program: string, args: readonly string[]): Promise<void> {
  const end = await run(program, args);
  if (end.status !== 0) throw new Error(`${program} failed: ${end.stderr}`);
}

/** The first child of a process, whichever of its threads forked it. */
function childOf(pid: number): number | undefined {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [child] = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').split(' ');
      if (child !== undefined && child !== '') return Number(child);
    }
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
