// The Units port: finds out once how helpers are started on this host, checks what is to be started, and hands it on.

import { argumentVector } from '../core/argv.js';
import type { UnitState } from '../core/observation.js';
import type { HelperEnd, HelperSpec, Units } from './ports.js';
import { detectManager, HOST_MANAGER, type ManagerPaths } from './service-manager.js';
import { checkProgram } from './trust.js';
import { SessionUnits } from './units-session.js';
import { SystemdUnits } from './units-systemd.js';

/** How helpers are to be started. */
export interface UnitsOptions {
  /** Directories from which programs may be started; a program elsewhere is `untrusted`. */
  readonly trustedDirs: readonly string[];
  /**
   * `detect`: services of systemd, or sessions where systemd does not run. `scope`: the same with scopes instead of
   * services. `session`: sessions even beside systemd, for a private mount namespace, which PID 1 does not see.
   */
  readonly choice: 'detect' | 'scope' | 'session';
  readonly manager?: ManagerPaths;
  /** Where control groups are, for tests. */
  readonly hierarchies?: readonly string[];
}

type Way = 'service' | 'scope' | 'session';

/** The units of this machine. */
export class KernelUnits implements Units {
  readonly #options: UnitsOptions;
  readonly #session: SessionUnits;
  readonly #systemd: SystemdUnits;
  /** A good answer, never an error. */
  #way: Way | null = null;

  constructor(options: UnitsOptions) {
    this.#options = options;
    this.#session = new SessionUnits(options.hierarchies);
    this.#systemd = new SystemdUnits(options.manager ?? HOST_MANAGER, options.choice === 'scope' ? 'scope' : 'service');
  }

  async way(): Promise<Way> {
    this.#way ??= await this.#findWay();
    return this.#way;
  }

  /** What ends a helper's descendants with it: a control group, or only a process group, which daemons leave. */
  async containment(): Promise<'cgroup' | 'process-group'> {
    return (await this.way()) === 'session' ? this.#session.containment() : 'cgroup';
  }

  async start(spec: HelperSpec): Promise<HelperEnd> {
    const words = argumentVector(spec.args);
    const trust = checkProgram(spec.program, this.#options.trustedDirs);
    if (!trust.trusted) return { end: 'not-started', why: trust.why, detail: trust.detail };
    return (await this.#units()).start({ ...spec, unit: checkedName(spec.unit), words });
  }

  async state(unit: string): Promise<UnitState | 'occupied'> {
    return (await this.#units()).state(checkedName(unit));
  }

  async kill(unit: string, budgetMs: number): Promise<'gone' | 'alive'> {
    return (await this.#units()).kill(checkedName(unit), budgetMs);
  }

  async list(prefix: string): Promise<readonly string[]> {
    return (await this.#units()).list(checkedName(prefix));
  }

  async #findWay(): Promise<Way> {
    if (this.#options.choice !== 'session') {
      const manager = await detectManager(this.#options.manager ?? HOST_MANAGER);
      if (manager === 'systemd') return this.#options.choice === 'scope' ? 'scope' : 'service';
    }
    // Joining the control group takes some milliseconds: better now than at the first helper.
    await this.#session.containment();
    return 'session';
  }

  async #units(): Promise<SessionUnits | SystemdUnits> {
    return (await this.way()) === 'session' ? this.#session : this.#systemd;
  }
}

/** Unit names are made by us from leaves: nothing in them that means something to systemd, to a path or to a pattern. */
function checkedName(name: string): string {
  if (!/^[a-z][a-z0-9-]{0,199}$/.test(name))
    throw new RangeError('a unit name must be lower-case letters, digits and dashes');
  return name;
}
