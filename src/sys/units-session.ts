// Helpers where there is no systemd: each in a session of its own and, where control groups are ours to use, in a group
// of its own. Where they are not, a process group has to do; a daemon leaves that, so its end cannot be seen or brought
// about from here, and `containment` says so.

import type { UnitState } from '../core/observation.js';
import { Cgroups } from './cgroup.js';
import { errnoOf } from './libc/errors.js';
import type { HelperEnd, HelperSpec } from './ports.js';
import { identifyProcess } from './process-identity.js';
import {
  killSession,
  outputMemory,
  printed,
  startHelper,
  within,
  type ProcessEnd,
  type StartedProcess,
} from './run.js';

/** A helper to start: program and words are checked already. */
export interface CheckedHelper extends Omit<HelperSpec, 'args'> {
  readonly words: readonly string[];
}

/** Name of the control group that holds all units. */
const PARENT_GROUP = 'fairlead';

/** The session way. */
export class SessionUnits {
  /** Helpers that we started and that have not ended: unit → process. */
  readonly #helpers = new Map<string, StartedProcess>();
  readonly #hierarchies: readonly string[] | undefined;
  #cgroups: Promise<Cgroups | null> | null = null;

  constructor(hierarchies?: readonly string[]) {
    this.#hierarchies = hierarchies;
  }

  /** What a killed helper's descendants are found by. */
  async containment(): Promise<'cgroup' | 'process-group'> {
    return (await this.#groups()) === null ? 'process-group' : 'cgroup';
  }

  async start(helper: CheckedHelper): Promise<HelperEnd> {
    const groups = await this.#groups();
    const { unit } = helper;
    if (this.#helpers.has(unit) || groups?.make(unit) === 'in-use') {
      return { end: 'not-started', why: 'name-in-use', detail: 'A helper or its daemon is in this unit already.' };
    }
    using output = outputMemory();
    const born = { inside: false };
    let helperProcess: StartedProcess;
    try {
      helperProcess = startHelper(helper.program, helper.words, output, {
        before: () => {
          groups?.enter(unit);
          born.inside = true;
        },
        after: () => groups?.leave(),
      });
    } catch (error) {
      if (born.inside || errnoOf(error) === null) throw error;
      // Somebody has moved us out of the parent group: it is joined again at the next use.
      this.#cgroups = null;
      groups?.remove(unit);
      return { end: 'not-started', why: 'failed', detail: 'The control group of the helper could not be entered.' };
    }
    this.#helpers.set(unit, helperProcess);
    tellForked(helper, helperProcess);
    void helperProcess.ended.then(() => {
      this.#helpers.delete(unit);
    });
    const ended = await within(helperProcess.ended, helper.budgetMs);
    if (ended === undefined) return { end: 'late', isKnown: true, output: printed(output) };
    groups?.remove(unit);
    return helperEnd(ended, printed(output));
  }

  async state(unit: string): Promise<UnitState | 'occupied'> {
    if (this.#helpers.has(unit)) return 'starting';
    return (await this.#groups())?.isOccupied(unit) === true ? 'occupied' : 'idle';
  }

  async kill(unit: string, budgetMs: number): Promise<'gone' | 'alive'> {
    const until = performance.now() + budgetMs;
    const groups = await this.#groups();
    const helper = this.#helpers.get(unit);
    if (groups === null && helper !== undefined) killSession(helper.pid);
    if (groups !== null && (await groups.end(unit, budgetMs)) === 'alive') return 'alive';
    if (helper === undefined) return 'gone';
    // An empty group has only zombies left; ours is reaped within moments.
    return (await within(helper.ended, Math.max(until - performance.now(), 0))) === undefined ? 'alive' : 'gone';
  }

  async list(prefix: string): Promise<readonly string[]> {
    const mine = [...this.#helpers.keys()].filter((unit) => unit.startsWith(prefix));
    const groups = (await this.#groups())?.list(prefix) ?? [];
    return [...new Set([...mine, ...groups])];
  }

  /** Joined at the first use. A host that does not let us is not asked again. */
  #groups(): Promise<Cgroups | null> {
    this.#cgroups ??= Cgroups.join(PARENT_GROUP, this.#hierarchies);
    return this.#cgroups;
  }
}

/** Tells whoever asked for the helper which process it is; one that has ended already is told of by its end. */
export function tellForked({ forked }: CheckedHelper, { pid }: StartedProcess): void {
  const identity = pid > 0 ? identifyProcess(pid) : null;
  if (identity !== null) forked?.(identity);
}

/** The port's answer for a helper that was started directly. */
export function helperEnd(ended: ProcessEnd, output: string): HelperEnd {
  switch (ended.end) {
    case 'exited':
      return { end: 'exited', status: ended.status, output };
    case 'signalled':
      return { end: 'signalled', signal: ended.signal, output };
    case 'not-started':
      return { end: 'not-started', why: whyNot(ended.errno), detail: `It could not be executed: ${ended.errno}.` };
  }
}

/** Why a program could not be executed. */
export function whyNot(errno: string): 'missing' | 'not-executable' | 'limit' | 'failed' {
  switch (errno) {
    case 'EAGAIN':
    case 'ENOMEM':
      return 'limit';
    case 'ENOENT':
    case 'ENOTDIR':
      return 'missing';
    case 'EACCES':
    case 'ENOEXEC':
      return 'not-executable';
    default:
      return 'failed';
  }
}
