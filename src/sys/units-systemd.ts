// Helpers in systemd's transient units: started by PID 1 as services in the host's own context, or, as the declared
// fallback, as scopes in ours. A start that fails is judged by what systemd keeps of the unit, never by its texts; the
// failed unit is then forgotten, so that its name is free again.

import { randomBytes } from 'node:crypto';
import { FairleadError } from '../core/errors.js';
import { EMPTY_POLL_LAST_MS } from '../core/limits.js';
import type { UnitState } from '../core/observation.js';
import { signalName } from './libc/errors.js';
import type { HelperEnd } from './ports.js';
import { killSession, outputMemory, printed, startHelper, within, type StartedProcess } from './run.js';
import type { ManagerPaths } from './service-manager.js';
import { isOver, isPopulated, populatedUnits, Systemctl } from './systemctl.js';
import { helperEnd, tellForked, whyNot, type CheckedHelper } from './units-session.js';

/**
 * systemd ends nothing in these units on a timer: neither a start that takes long, nor what is left of a unit that is
 * stopped, nor a client because another process of its unit ran out of memory. It asks by SIGTERM when the host goes down.
 */
const NO_TIMERS = ['--property=SendSIGKILL=no'] as const;
const NO_TIMERS_OF_SERVICES = [
  ...NO_TIMERS,
  '--property=TimeoutStartSec=infinity',
  '--property=OOMPolicy=continue',
] as const;

/** The systemd way; `kind` says in which kind of unit. */
export class SystemdUnits {
  readonly #systemdRun: string;
  readonly #systemctl: Systemctl;
  readonly #kind: 'service' | 'scope';
  /** Helpers in scopes, which are our own children. */
  readonly #helpers = new Map<string, StartedProcess>();

  constructor(paths: ManagerPaths, kind: 'service' | 'scope') {
    this.#systemdRun = paths.systemdRun;
    this.#systemctl = new Systemctl(paths.systemctl);
    this.#kind = kind;
  }

  async start(helper: CheckedHelper): Promise<HelperEnd> {
    // Asking systemd first would cost as much as a third of the start: it is asked only where there is something to see.
    if (isPopulated(helper.unit) && (await this.#look(helper.unit)) !== 'idle') return inUse();
    if (this.#kind === 'scope') return this.#startScope(helper);
    const end = await this.#startService(helper);
    if (end !== 'name-of-a-failed-unit') return end;
    // A broker that died left it; it has been forgotten now.
    const again = await this.#startService(helper);
    return again === 'name-of-a-failed-unit' ? inUse() : again;
  }

  async state(unit: string): Promise<UnitState | 'occupied'> {
    if (this.#helpers.has(unit)) return 'starting';
    return this.#look(unit);
  }

  async kill(unit: string, budgetMs: number): Promise<'gone' | 'alive'> {
    const until = performance.now() + budgetMs;
    for (;;) {
      const shown = await this.#systemctl.show(unit);
      const living = shown.filter((each) => !isOver(each));
      if (living.length === 0) {
        await this.#systemctl.forget(shown);
        return 'gone';
      }
      if (performance.now() >= until) return 'alive';
      await this.#systemctl.kill(living);
      await new Promise((resolve) => setTimeout(resolve, Math.min(EMPTY_POLL_LAST_MS, until - performance.now())));
    }
  }

  list(prefix: string): Promise<readonly string[]> {
    return Promise.resolve(populatedUnits(prefix));
  }

  async #startService(helper: CheckedHelper): Promise<HelperEnd | 'name-of-a-failed-unit'> {
    const { unit, program, words, budgetMs } = helper;
    using output = outputMemory();
    // Tells our unit from one that somebody else started under the name at the same moment.
    const description = `Fairlead helper ${unit} ${randomBytes(8).toString('hex')}`;
    const runner = startRunner(this.#systemdRun, [
      '--quiet',
      '--no-ask-password',
      `--unit=${unit}.service`,
      // Never the command line, which systemd would take by default: it holds the volume's name.
      `--description=${description}`,
      // The start is over when the helper is; what it leaves behind keeps the unit active.
      '--service-type=forking',
      '--property=GuessMainPID=no',
      ...NO_TIMERS_OF_SERVICES,
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
      return { end: 'late', isKnown: (await this.#look(unit)) !== 'idle', output: printed(output) };
    }
    if (ended.end === 'not-started') {
      const why = whyNot(ended.errno) === 'limit' ? 'limit' : 'failed';
      return notStarted(why, 'systemd-run could not be executed.');
    }
    if (ended.end === 'exited' && ended.status === 0) return { end: 'exited', status: 0, output: printed(output) };
    return await this.#failure(unit, description, () => printed(output));
  }

  /** What became of a service whose start failed, by systemd's own record of it. */
  async #failure(
    unit: string,
    description: string,
    output: () => string,
  ): Promise<HelperEnd | 'name-of-a-failed-unit'> {
    const units = await this.#systemctl.show(unit);
    const shown = units.find(({ name }) => name === `${unit}.service`);
    if (shown === undefined) return notStarted('failed', 'systemd refused to make the unit.');
    if (shown.description !== description) {
      if (!isOver(shown)) return inUse();
      await this.#systemctl.forget(units);
      return 'name-of-a-failed-unit';
    }
    if (shown.active !== 'failed') {
      // systemd-run ended before the start did.
      throw new FairleadError('unavailable', 'The connection to systemd was lost while a helper was being started.');
    }
    const said = output();
    if (isOver(shown)) await this.#systemctl.forget(units);
    const [, code, status] = / ; code=(\w+) ; status=(\d+)(?:\/\w+)? }$/.exec(shown.execStart) ?? [];
    switch (shown.result) {
      case 'exit-code':
        return { end: 'exited', status: Number(status), output: said };
      case 'signal':
      case 'core-dump':
        return { end: 'signalled', signal: signalName(Number(status)), output: said };
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
      this.#systemdRun,
      [
        '--scope',
        '--quiet',
        '--no-ask-password',
        '--collect',
        `--unit=${unit}.scope`,
        `--description=Fairlead helper ${unit}`,
        ...NO_TIMERS,
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
    tellForked(helper, started);
    void started.ended.then(() => {
      this.#helpers.delete(unit);
    });
    const ended = await within(started.ended, budgetMs);
    if (ended !== undefined) return helperEnd(ended, printed(output));
    // systemd-run makes the scope before it becomes the helper.
    return { end: 'late', isKnown: (await this.#look(unit)) !== 'idle', output: printed(output) };
  }

  /** `starting` while the start of a service is not over; in a scope nobody can tell a helper from what it leaves behind. */
  async #look(unit: string): Promise<UnitState | 'occupied'> {
    const shown = await this.#systemctl.show(unit);
    const living = shown.filter((each) => !isOver(each));
    if (living.length === 0) {
      await this.#systemctl.forget(shown);
      return 'idle';
    }
    if (living.some(({ active }) => active === 'activating')) return 'starting';
    return living.every(({ name }) => name.endsWith('.service')) ? 'serving' : 'occupied';
  }
}

const NOWHERE = { before: (): void => undefined, after: (): void => undefined };

function startRunner(systemdRun: string, args: readonly string[]): StartedProcess {
  // What systemd-run itself says is of no use: the unit tells more, and texts decide nothing.
  using ignored = outputMemory();
  return startHelper(systemdRun, args, ignored, NOWHERE);
}

function inUse(): HelperEnd {
  return notStarted('name-in-use', 'A helper or its daemon is in this unit already.');
}

function notStarted(why: 'name-in-use' | 'limit' | 'failed', detail: string): HelperEnd {
  return { end: 'not-started', why, detail };
}

function signalled(status: string | undefined, output: string): HelperEnd {
  return { end: 'signalled', signal: signalName(Number(status)), output };
}
