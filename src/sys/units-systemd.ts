// Helpers in systemd's transient units: started by PID 1 as services in the host's own context, or, as the declared
// fallback, as scopes in ours. A start that fails is judged by what systemd keeps of the unit, never by its texts; the
// failed unit is then forgotten, so that its name is free again.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import { EMPTY_POLL_LAST_MS, KILL_GRACE_MS, TOOL_BUDGET_MS } from '../core/limits.js';
import type { UnitState } from '../core/observation.js';
import { errnoOf, signalName } from './libc/errors.js';
import type { HelperEnd } from './ports.js';
import { killSession, outputMemory, printed, runTool, startHelper, within, type StartedProcess } from './run.js';
import type { ManagerPaths } from './service-manager.js';
import { helperEnd, type CheckedHelper } from './units-session.js';

/** Milliseconds beyond the helper's own budget after which systemd ends a start by itself, should we be gone by then. */
const BACKSTOP_MS = 5000;

/** What systemd says of one unit. */
interface Shown {
  readonly active: string;
  readonly description: string;
  readonly controlGroup: string;
  readonly result: string;
  /** The last `ExecStart=` line, with the command's end in its tail. */
  readonly execStart: string;
}

/** The systemd way; `kind` says in which kind of unit. */
export class SystemdUnits {
  readonly #paths: ManagerPaths;
  readonly #kind: 'service' | 'scope';
  /** Helpers in scopes, which are our own children. */
  readonly #helpers = new Map<string, StartedProcess>();
  /** Units whose helper was our child and has ended. */
  readonly #served = new Set<string>();

  constructor(paths: ManagerPaths, kind: 'service' | 'scope') {
    this.#paths = paths;
    this.#kind = kind;
  }

  async start(helper: CheckedHelper): Promise<HelperEnd> {
    const present = await this.#look(helper.unit);
    if (present !== 'idle') return inUse();
    return this.#kind === 'service' ? this.#startService(helper) : this.#startScope(helper);
  }

  async state(unit: string): Promise<UnitState> {
    if (this.#helpers.has(unit)) return 'starting';
    return this.#look(unit);
  }

  async kill(unit: string, budgetMs: number): Promise<'gone' | 'alive'> {
    const until = performance.now() + budgetMs;
    for (;;) {
      const shown = await this.#show(unit);
      const living = [...shown].filter(([, each]) => !isOver(each));
      if (living.length === 0) {
        await this.#forget(unit, shown);
        return 'gone';
      }
      if (performance.now() >= until) return 'alive';
      // Fails where nothing is left to kill; the next look tells.
      await this.#systemctl(['kill', '--signal=SIGKILL', '--', ...living.map(([name]) => name)]);
      await new Promise((resolve) => setTimeout(resolve, Math.min(EMPTY_POLL_LAST_MS, until - performance.now())));
    }
  }

  async list(prefix: string): Promise<readonly string[]> {
    const pattern = `${prefix}*`;
    const listed = await this.#systemctl(['list-units', '--all', '--plain', '--no-legend', '--full', '--', pattern]);
    return listed
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([name, , active]) => name !== undefined && active !== 'inactive' && active !== 'failed')
      .map(([name = '']) => name.replace(/\.(?:service|scope)$/, ''))
      .filter((name) => name.startsWith(prefix));
  }

  async #startService(helper: CheckedHelper): Promise<HelperEnd> {
    const { unit, program, words, budgetMs } = helper;
    using output = outputMemory();
    // Tells our unit from one that somebody else started under the name at the same moment.
    const description = `Fairlead helper ${unit} ${randomBytes(8).toString('hex')}`;
    const runner = startRunner(this.#paths.systemdRun, [
      '--quiet',
      '--no-ask-password',
      `--unit=${unit}.service`,
      // Never the command line, which systemd would take by default: it holds the volume's name.
      `--description=${description}`,
      // The start is over when the helper is; what it leaves behind keeps the unit active.
      '--service-type=forking',
      '--property=GuessMainPID=no',
      `--property=TimeoutStartSec=${budgetMs + BACKSTOP_MS}ms`,
      '--property=TimeoutStartFailureMode=kill',
      // Opened by PID 1's child in the host's context: our own memory, as it is seen through /proc.
      `--property=StandardOutput=file:/proc/${process.pid}/fd/${output.fd}`,
      '--property=StandardError=inherit',
      // At shutdown a client goes after everything that waits for remote filesystems (systemd.special(7)), and while
      // there still is a network.
      '--property=Before=remote-fs.target',
      '--property=After=network.target',
      '--setenv=PATH=/usr/sbin:/usr/bin:/sbin:/bin',
      '--setenv=LC_ALL=C',
      '--',
      program,
      // systemd expands variables in the words of a service, though not of a scope (systemd.service(5), "Command lines").
      ...words.map((word) => word.replaceAll('$', '$$$$')),
    ]);
    const ended = await within(runner.ended, budgetMs);
    if (ended === undefined) {
      killSession(runner.pid);
      // Where the unit is not even there yet, PID 1 may still be about to make it.
      const seen = (await this.#look(unit)) !== 'idle';
      const gone = (await this.kill(unit, KILL_GRACE_MS)) === 'gone';
      return { end: 'deadline', emptied: seen && gone, output: printed(output) };
    }
    if (ended.end === 'not-started') return notStarted('failed', 'systemd-run could not be executed.');
    if (ended.end === 'exited' && ended.status === 0) return { end: 'exited', status: 0, output: printed(output) };
    return await this.#failure(unit, description, () => printed(output));
  }

  /** What became of a service whose start failed, by systemd's own record of it. */
  async #failure(unit: string, description: string, output: () => string): Promise<HelperEnd> {
    const shown = (await this.#show(unit)).get(`${unit}.service`);
    if (shown === undefined) return notStarted('failed', 'systemd refused to make the unit.');
    if (shown.description !== description) return inUse();
    if (shown.active !== 'failed') {
      // systemd-run ended before the start did.
      throw new FairleadError('unavailable', 'The connection to systemd was lost while a helper was being started.');
    }
    const said = output();
    const gone = (await this.kill(unit, KILL_GRACE_MS)) === 'gone';
    const [, code, status] = / ; code=(\w+) ; status=(\d+)(?:\/\w+)? }$/.exec(shown.execStart) ?? [];
    switch (shown.result) {
      case 'exit-code':
        return { end: 'exited', status: Number(status), output: said };
      case 'signal':
      case 'core-dump':
        return { end: 'signalled', signal: signalName(Number(status)), output: said };
      case 'timeout':
        return { end: 'deadline', emptied: gone, output: said };
      case 'resources':
        return notStarted('failed', 'systemd had not the resources to start the unit.');
      default:
        // What systemd saw after the helper had ended well (`protocol`, `oom-kill` …).
        return code === 'exited' ? { end: 'exited', status: Number(status), output: said } : signalled(status, said);
    }
  }

  async #startScope(helper: CheckedHelper): Promise<HelperEnd> {
    const { unit, program, words, budgetMs } = helper;
    using output = outputMemory();
    const started = startHelper(
      this.#paths.systemdRun,
      [
        '--scope',
        '--quiet',
        '--no-ask-password',
        '--collect',
        `--unit=${unit}.scope`,
        `--description=Fairlead helper ${unit}`,
        '--property=Before=remote-fs.target',
        '--property=After=network.target',
        '--',
        program,
        ...words,
      ],
      output,
      NOWHERE,
    );
    this.#helpers.set(unit, started);
    this.#served.delete(unit);
    void started.ended.then(() => {
      this.#helpers.delete(unit);
      this.#served.add(unit);
    });
    const ended = await within(started.ended, budgetMs);
    if (ended !== undefined) return helperEnd(ended, printed(output));
    killSession(started.pid);
    const gone = (await this.kill(unit, KILL_GRACE_MS)) === 'gone';
    const ours = (await within(started.ended, KILL_GRACE_MS)) !== undefined;
    return { end: 'deadline', emptied: gone && ours, output: printed(output) };
  }

  /**
   * `serving` for a service whose start is over. Of a scope nobody can tell after a restart of ours whether its helper or
   * what it left behind is inside, so it counts as `starting` where it is not our own child that has ended.
   */
  async #look(unit: string): Promise<UnitState> {
    const shown = await this.#show(unit);
    const living = [...shown].filter(([, each]) => !isOver(each));
    if (living.length === 0) {
      await this.#forget(unit, shown);
      return 'idle';
    }
    const over = ([name, each]: [string, Shown]): boolean =>
      each.active === 'active' && (name.endsWith('.service') || this.#served.has(unit));
    return living.every(over) ? 'serving' : 'starting';
  }

  /** The unit as a service and as a scope, as far as they are loaded. */
  async #show(unit: string): Promise<ReadonlyMap<string, Shown>> {
    const text = await this.#systemctl([
      'show',
      '--property=Id,LoadState,ActiveState,Description,ControlGroup,Result,ExecStart',
      '--',
      `${unit}.service`,
      `${unit}.scope`,
    ]);
    const shown = new Map<string, Shown>();
    for (const block of text.split('\n\n')) {
      const values = new Map(
        block.split('\n').map((line): [string, string] => {
          const equals = line.indexOf('=');
          return [line.slice(0, equals), line.slice(equals + 1)];
        }),
      );
      const value = (name: string): string => values.get(name) ?? '';
      if (value('LoadState') !== 'loaded') continue;
      shown.set(value('Id'), {
        active: value('ActiveState'),
        description: value('Description'),
        controlGroup: value('ControlGroup'),
        result: value('Result'),
        execStart: value('ExecStart'),
      });
    }
    return shown;
  }

  /** Makes systemd forget units that failed. */
  async #forget(unit: string, shown: ReadonlyMap<string, Shown>): Promise<void> {
    const failed = [...shown].filter(([, each]) => each.active === 'failed').map(([name]) => name);
    if (failed.length > 0) await this.#systemctl(['reset-failed', '--', ...failed]);
    this.#served.delete(unit);
  }

  /** Standard output of systemctl, whatever its status: it has one for each thing it did not like. */
  async #systemctl(args: readonly string[]): Promise<string> {
    const asked = await runTool(this.#paths.systemctl, ['--no-pager', '--no-ask-password', ...args], TOOL_BUDGET_MS);
    if (asked.end === 'exited') return asked.stdout;
    throw new FairleadError('unavailable', 'systemd does not answer; try again, and look at the state of the host.');
  }
}

const NOWHERE = { before: (): void => undefined, after: (): void => undefined };

function startRunner(systemdRun: string, args: readonly string[]): StartedProcess {
  // What systemd-run itself says is of no use: the unit tells more, and texts decide nothing.
  using ignored = outputMemory();
  return startHelper(systemdRun, args, ignored, NOWHERE);
}

/** Neither the unit nor anything in its control group is alive. */
function isOver(shown: Shown): boolean {
  return (shown.active === 'inactive' || shown.active === 'failed') && groupIsEmpty(shown.controlGroup);
}

/** Where systemd's own hierarchy may be mounted: unified, hybrid, legacy (systemd.io, "Control Group APIs"). */
const HIERARCHIES = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd'];

/** Whether no process is in the group; one that systemd has removed is empty. */
function groupIsEmpty(controlGroup: string): boolean {
  if (controlGroup === '') return true;
  return HIERARCHIES.every((hierarchy) => {
    try {
      return readFileSync(join(hierarchy, controlGroup, 'cgroup.procs'), 'latin1').trim() === '';
    } catch (error) {
      if (errnoOf(error) === null) throw error;
      return true;
    }
  });
}

function inUse(): HelperEnd {
  return notStarted('name-in-use', 'A helper or its daemon is in this unit already.');
}

function notStarted(why: 'name-in-use' | 'failed', detail: string): HelperEnd {
  return { end: 'not-started', why, detail };
}

function signalled(status: string | undefined, output: string): HelperEnd {
  return { end: 'signalled', signal: signalName(Number(status)), output };
}
