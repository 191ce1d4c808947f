// The broker's own bench with one volume in the middle of it, for attacks that say what a helper did and ask what became
// of it.

import type { QuobyteSettings } from '../../../src/backends/backend.js';
import { Deadline } from '../../../src/core/deadline.js';
import { step } from '../../../src/broker/handlers/step.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import type { Holder } from '../../../src/core/observation.js';
import type { StepEnd, StepKind } from '../../../src/core/steps.js';
import type { HelperEnd, HelperSpec } from '../../../src/sys/ports.js';
import { bench, entry, MOUNTPOINT, SETTINGS, URL, type Bench } from '../broker/fake-machine.js';

/** A broker, and what its machine does. */
export class World {
  readonly bench: Bench;
  /** Helpers that were started. */
  readonly started: HelperSpec[] = [];
  /** What a helper does; mounts the volume and ends with success unless an attack says otherwise. */
  helper: () => HelperEnd | Promise<HelperEnd> = () => {
    this.mount();
    return exited(0);
  };

  constructor(change: Partial<QuobyteSettings> = {}) {
    const quobyte = { ...SETTINGS.backends.quobyte, ...change };
    this.bench = bench({ backends: { ...SETTINGS.backends, quobyte } });
    this.machine.leaves.set(MOUNTPOINT, 'empty');
    this.machine.helper = async (spec) => {
      this.started.push(spec);
      return this.helper();
    };
  }

  get machine(): Bench['machine'] {
    return this.bench.machine;
  }

  /** A mount at the leaf, of the volume unless said otherwise. */
  mount(different: Partial<MountEntry> = {}): void {
    this.machine.mountsNow = [...this.machine.mountsNow, entry(different)];
  }

  unmount(): void {
    this.machine.mountsNow = [];
  }

  /** Somebody keeps what is mounted. */
  hold(holder: Holder): void {
    this.machine.processes.holding = () => Promise.resolve({ holders: [holder], complete: true });
  }

  /** Carries out one step as the broker does, and tells how it ended. */
  step(kind: StepKind, budgetMs = 2000): Promise<StepEnd> {
    const { context } = this.bench;
    const call = { context, deadline: new Deadline(context.machine.clock, budgetMs), emit: () => undefined };
    return step(call, { id: 1, verb: 'step', volume: URL, kind, budgetMs });
  }
}

/** A helper that ended by itself. */
export function exited(status: number, output = ''): HelperEnd {
  return { end: 'exited', status, output };
}
