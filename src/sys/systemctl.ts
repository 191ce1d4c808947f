// What systemd is asked and told about our units, through systemctl. Its texts for people decide nothing: only properties
// and exit status are read.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.js';
import { TOOL_BUDGET_MS } from '../core/limits.js';
import { errnoOf } from './libc/errors.js';
import { runTool } from './run.js';

/** The kinds of units that helpers may be in. */
const KINDS = ['service', 'scope'] as const;

/** What systemd says of one unit (systemctl(1), "show"; org.freedesktop.systemd1(5)). */
export interface Shown {
  /** With its suffix. */
  readonly name: string;
  readonly active: string;
  readonly description: string;
  readonly controlGroup: string;
  readonly result: string;
  /** The command, with how it ended in its tail. */
  readonly execStart: string;
}

/** One systemctl. Every method throws FairleadError `unavailable` when systemd does not answer. */
export class Systemctl {
  readonly #program: string;

  constructor(program: string) {
    this.#program = program;
  }

  /** The unit as a service and as a scope, as far as they are loaded. */
  async show(unit: string): Promise<readonly Shown[]> {
    const text = await this.#ask([
      'show',
      '--property=Id,LoadState,ActiveState,Description,ControlGroup,Result,ExecStart',
      '--',
      ...KINDS.map((kind) => `${unit}.${kind}`),
    ]);
    const blocks = text.split('\n\n').map(propertiesIn);
    return blocks
      .filter((values) => values.get('LoadState') === 'loaded')
      .map((values) => ({
        name: values.get('Id') ?? '',
        active: values.get('ActiveState') ?? '',
        description: values.get('Description') ?? '',
        controlGroup: values.get('ControlGroup') ?? '',
        result: values.get('Result') ?? '',
        execStart: values.get('ExecStart') ?? '',
      }));
  }

  /** SIGKILL to every process of the units. Whether that did anything is for the next look. */
  async kill(units: readonly Shown[]): Promise<void> {
    await this.#run(['kill', '--signal=SIGKILL', '--', ...units.map(({ name }) => name)]);
  }

  /** Makes systemd forget those of the units that failed, so that their names are free. */
  async forget(units: readonly Shown[]): Promise<void> {
    const failed = units.filter(({ active }) => active === 'failed').map(({ name }) => name);
    if (failed.length > 0) await this.#run(['reset-failed', '--', ...failed]);
  }

  async #ask(args: readonly string[]): Promise<string> {
    const { status, stdout } = await this.#run(args);
    if (status !== 0) throw unanswered();
    return stdout;
  }

  async #run(args: readonly string[]): Promise<{ readonly status: number; readonly stdout: string }> {
    const asked = await runTool(this.#program, ['--no-pager', '--no-ask-password', ...args], TOOL_BUDGET_MS);
    if (asked.end === 'exited') return asked;
    throw unanswered();
  }
}

function unanswered(): FairleadError {
  return new FairleadError('unavailable', 'systemd does not answer; try again, and look at the state of the host.');
}

/** `Name=value` lines. */
function propertiesIn(block: string): ReadonlyMap<string, string> {
  return new Map(
    block.split('\n').map((line): [string, string] => {
      const equals = line.indexOf('=');
      return [line.slice(0, equals), line.slice(equals + 1)];
    }),
  );
}

/** Neither the unit nor anything in its control group is alive. */
export function isOver(shown: Shown): boolean {
  return (shown.active === 'inactive' || shown.active === 'failed') && groupIsEmpty(shown.controlGroup);
}

/** Where systemd puts units of services of the host (systemd.special(7)). */
const SLICE = '/system.slice';

/** Whether there is a process in the unit, of either kind, going by the control groups alone: systemd is not asked. */
export function isPopulated(unit: string): boolean {
  return KINDS.some((kind) => !groupIsEmpty(`${SLICE}/${unit}.${kind}`));
}

/** Names, without suffix, of the units with this prefix that have a process, however many there are. */
export function populatedUnits(prefix: string): readonly string[] {
  const names = HIERARCHIES.flatMap((hierarchy) => namesIn(join(hierarchy, SLICE)));
  const units = names.filter((name) => name.startsWith(prefix)).map((name) => name.replace(/\.(?:service|scope)$/, ''));
  return [...new Set(units)].filter(isPopulated);
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

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return [];
  }
}
