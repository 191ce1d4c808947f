// Ways to make a faulty part of Fairlead around, or in the place of, a real one: what mutants are made of.

import type { Broker } from '../../src/core/broker-api.js';
import type { Domain, Survey } from '../../src/core/domains.js';
import type { MountEntry } from '../../src/core/mountinfo.js';
import type { Change, Ledger } from '../../src/core/records.js';
import type { EvidencePolicy } from '../../src/engine/ports.js';
import { leafOfUnit, unitPrefix } from '../../src/broker/unit-names.js';
import type { Leaf } from '../../src/core/volume.js';
import type { Machine, ProbeAnswer, ProbeChild, ProbeJob, Units } from '../../src/sys/ports.js';
import type { Bound } from '../../src/broker/bound.js';
import { brokerOf, REAL } from './makers.js';
import type { Makers } from './processes.js';
import { BASES } from './world.js';

export const brokerWith = (changes: (real: Broker) => Partial<Broker>): Makers => ({
  ...REAL,
  wrapBroker: (real) => around(real, changes(real)),
});

export const ledgerWith = (changes: (real: Ledger) => Partial<Ledger>): Makers => ({
  ...REAL,
  wrapLedger: (real) => ({ ...real, ...changes(real) }),
});

/** The engine hears something else than what was read of the domains. */
export const hearing = (change: (survey: Survey | null) => Survey | null): Makers => ({
  ...REAL,
  wrapEngine: (real) => ({ ...real, takeEvidence: (survey) => real.takeEvidence(change(survey)) }),
});

export const settingsWith = (changes: (policy: EvidencePolicy) => EvidencePolicy): Makers => ({
  ...REAL,
  settings: (bootId, evidence) => REAL.settings(bootId, changes(evidence)),
});

export const machineWith = (changes: (real: Machine) => Partial<Machine>): Makers => ({
  ...REAL,
  broker: (parts) => REAL.broker({ ...parts, machine: { ...parts.machine, ...changes(parts.machine) } }),
});

/** A broker whose mount table is read wrongly. */
export const tableWith = (changes: (real: Machine['table']) => Partial<Machine['table']>): Makers =>
  machineWith(({ table }) => ({ table: around(table, changes(table)) }));

/** A broker that writes down binds, or reads what is written of them, wrongly. */
export const boundWith = (changes: (real: Bound) => Partial<Bound>): Makers => ({
  ...REAL,
  broker: (parts) =>
    brokerOf(parts, (context) => ({ ...context, bound: around(context.bound, changes(context.bound)) })),
});

/** The real one, with some of its members replaced. */
export function around<T extends object>(real: T, changed: Partial<T>): T {
  return new Proxy(real, {
    get(target, name) {
      const own: unknown = Reflect.get(changed, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Commits without the changes of one kind, and acknowledges them all. */
export const forgetting = (kind: Change['kind']): Makers => committing((change) => change.kind !== kind);

export function isIntent(change: Change): boolean {
  return change.kind === 'put-operation' || (change.kind === 'put-mount' && change.mount.state === 'mounting');
}

/** Probe children that answer something else than they saw. */
export const childrenWith = (change: (child: ProbeChild) => Partial<ProbeChild>): Makers =>
  machineWith(({ probeChildren }) => ({
    probeChildren: {
      start: (uid, gid) => {
        const child = probeChildren.start(uid, gid);
        return { ...child, ...change(child) };
      },
    },
  }));

/** What probe children answer is changed on its way, by what they were asked. */
export const answering = (change: (answer: ProbeAnswer, job: ProbeJob) => ProbeAnswer): Makers =>
  childrenWith((child) => {
    const asked = new Map<number, ProbeJob>();
    return {
      post: (id, job) => {
        asked.set(id, job);
        child.post(id, job);
      },
      onAnswer: (listener) => child.onAnswer((id, answer) => listener(id, change(answer, asked.get(id)!))),
    };
  });

/** Something is done about the units as soon as a leaf was unmounted. */
export const unmounted = (act: (units: Units, base: string, leaf: Leaf) => Promise<void>): Makers => ({
  ...REAL,
  broker: (parts) => {
    const { units } = parts.machine;
    const told = answering((answer, job) => {
      if (answer.kind === 'unmount' && answer.errno === null && job.kind === 'unmount')
        void act(units, job.base, job.leaf as Leaf);
      return answer;
    });
    return told.broker(parts);
  },
});

/** Ends what runs in the leaf's units, whatever it is. */
export async function endUnits(units: Units, base: string, leaf: Leaf, except?: string): Promise<void> {
  const listed = await units.list(unitPrefix('mount', base));
  const own = listed.filter((unit) => unit !== except && leafOfUnit('mount', base, unit)?.leaf === leaf);
  await Promise.all(own.map((unit) => units.kill(unit, 1000)));
}

/** Bases and leaves that the unit may belong to. */
export function sitesOf(unit: string): readonly (readonly [string, Leaf])[] {
  return Object.values(BASES).flatMap((base) => {
    const leaf = leafOfUnit('mount', base, unit)?.leaf;
    return leaf === undefined ? [] : [[base, leaf] as const];
  });
}

/** Commits without the changes that are not `kept`, and acknowledges them all. */
export const committing = (kept: (change: Change) => boolean): Makers =>
  ledgerWith((real) => ({ commit: (changes) => real.commit(changes.filter(kept)) }));

/** A domain that does not tell of files with this name. */
export function withoutFile(name: string): (domain: Domain) => Domain {
  const others = (path: string | null): boolean => path?.endsWith(`/${name}`) !== true;
  return (domain) => ({
    ...domain,
    disks: domain.disks.filter(({ path }) => others(path)),
    otherFiles: domain.otherFiles.filter(others),
  });
}

/** A record of superblocks that leaves out those of these mounts when it is asked for all. */
export function without(real: Machine['superblocks'], mounts: () => readonly MountEntry[]): Machine['superblocks'] {
  return {
    at: (dev) => real.at(dev),
    all: () => {
      const devs = new Set(mounts().map(({ dev }) => dev));
      return real.all()?.filter(({ dev }) => !devs.has(dev)) ?? null;
    },
  };
}

/** A mount of a directory in a volume. */
export function isPart({ root, fsType }: MountEntry): boolean {
  return root !== '/' && fsType.startsWith('fuse');
}
