// Fairlead with one known defect each: a faulty part around, or in the place of, a real one. The judges must catch every
// one of them, each by the invariant that it breaks; a simulation that cannot fail proves nothing.

import type { Broker } from '../../src/core/broker-api.js';
import type { Domain, Survey } from '../../src/core/domains.js';
import type { Change, Ledger } from '../../src/core/records.js';
import type { EvidencePolicy } from '../../src/engine/ports.js';
import type { Machine, ProbeChild } from '../../src/sys/ports.js';
import type { Store } from './disk.js';
import { openPlace, type Place } from './ledger.js';
import { REAL } from './makers.js';
import type { Makers } from './processes.js';

/** A defect, and what must catch it. */
export interface Mutant {
  readonly defect: string;
  /** Invariants that it breaks: one of them must be seen to break. */
  readonly caughtBy: readonly string[];
  /** Under which profile it is looked for. */
  readonly profile: string;
  readonly makers: Makers;
}

const brokerWith = (changes: (real: Broker) => Partial<Broker>): Makers => ({
  ...REAL,
  wrapBroker: (real) => {
    const changed = changes(real);
    return new Proxy(real, {
      get(target, name) {
        const own: unknown = Reflect.get(changed, name);
        if (own !== undefined) return own;
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  },
});

const ledgerWith = (changes: (real: Ledger) => Partial<Ledger>): Makers => ({
  ...REAL,
  wrapLedger: (real) => ({ ...real, ...changes(real) }),
});

/** The engine hears something else than what was read of the domains. */
const hearing = (change: (survey: Survey | null) => Survey | null): Makers => ({
  ...REAL,
  wrapEngine: (real) => ({ ...real, takeEvidence: (survey) => real.takeEvidence(change(survey)) }),
});

const settingsWith = (changes: (policy: EvidencePolicy) => EvidencePolicy): Makers => ({
  ...REAL,
  settings: (bootId, evidence) => REAL.settings(bootId, changes(evidence)),
});

const machineWith = (changes: (real: Machine) => Partial<Machine>): Makers => ({
  ...REAL,
  broker: (parts) => REAL.broker({ ...parts, machine: { ...parts.machine, ...changes(parts.machine) } }),
});

/** Commits without the changes of one kind, and acknowledges them all. */
const forgetting = (kind: Change['kind']): Makers =>
  ledgerWith((real) => ({ commit: (changes) => real.commit(changes.filter((change) => change.kind !== kind)) }));

function isIntent(change: Change): boolean {
  return change.kind === 'put-operation' || (change.kind === 'put-mount' && change.mount.state === 'mounting');
}

/** Probe children that answer something else than they saw. */
const childrenWith = (change: (child: ProbeChild) => Partial<ProbeChild>): Makers =>
  machineWith(({ probeChildren }) => ({
    probeChildren: {
      start: (uid, gid) => {
        const child = probeChildren.start(uid, gid);
        return { ...child, ...change(child) };
      },
    },
  }));

/** The gallery. */
export const MUTANTS: readonly Mutant[] = [
  {
    defect: 'the broker unmounts although somebody is attached',
    caughtBy: ['I1'],
    profile: 'calm',
    makers: brokerWith((real) => ({
      observe: async (volume, options) => {
        if (options.probe === null) await real.step(volume, 'unmount', options.budgetMs);
        return real.observe(volume, options);
      },
    })),
  },
  {
    defect: 'every unmount is a lazy one',
    caughtBy: ['I1'],
    profile: 'calm',
    makers: childrenWith((child) => ({
      post: (id, job) => child.post(id, job.kind === 'unmount' ? { ...job, mode: 'detach' } : job),
    })),
  },
  {
    defect: 'holds are acknowledged and not stored',
    caughtBy: ['I1', 'I3'],
    profile: 'points',
    makers: forgetting('put-hold'),
  },
  {
    defect: 'attachments are acknowledged and not stored',
    caughtBy: ['I2'],
    profile: 'processes',
    makers: forgetting('put-attachment'),
  },
  {
    defect: 'commits are acknowledged before they are on the disk',
    caughtBy: ['I1', 'I2', 'I3', 'I6'],
    profile: 'processes',
    makers: ledgerWith((real) => ({
      commit: (changes) => {
        void real.commit(changes).catch(() => undefined);
        return Promise.resolve();
      },
    })),
  },
  {
    defect: 'nothing is journaled before it is done',
    caughtBy: ['I3'],
    profile: 'points',
    makers: ledgerWith((real) => ({
      commit: (changes) => real.commit(changes.filter((change) => !isIntent(change))),
    })),
  },
  {
    defect: 'leaf directories are not removed',
    caughtBy: ['I3'],
    profile: 'calm',
    makers: machineWith(({ directories }) => ({ directories: { ...directories, removeLeaf: () => 'removed' } })),
  },
  {
    defect: 'units have no fixed name, and are not ended',
    caughtBy: ['I3', 'I8'],
    profile: 'volumes',
    makers: machineWith(({ units }) => {
      let next = 1;
      return {
        units: {
          ...units,
          start: (spec) => units.start({ ...spec, unit: `${spec.unit}-${next++}` }),
          state: () => Promise.resolve('idle'),
          kill: () => Promise.resolve('gone'),
        },
      };
    }),
  },
  {
    defect: 'every mount is called healthy',
    caughtBy: ['I4'],
    profile: 'volumes',
    makers: brokerWith((real) => ({
      observe: async (volume, options) => {
        const seen = await real.observe(volume, options);
        if (seen.judgement === undefined || seen.mounts.at(-1)?.recognised !== true) return seen;
        return { ...seen, judgement: { verdict: 'healthy', reason: 'because', dead: false } };
      },
    })),
  },
  {
    defect: 'a step whose end is unknown counts as done, and nothing settles it',
    caughtBy: ['I1', 'I3', 'I4', 'I6', 'I8'],
    profile: 'everything',
    makers: brokerWith((real) => ({
      step: async (volume, kind, budgetMs) => {
        const ended = await real.step(volume, kind, budgetMs);
        return ended.end === 'unknown' ? { end: 'done', changed: true } : ended;
      },
      observe: async (volume, options) => {
        const seen = await real.observe(volume, options);
        return { ...seen, mounts: seen.mounts.map((mount) => ({ ...mount, hardened: true })) };
      },
      settle: () => Promise.resolve('settled'),
    })),
  },
  {
    defect: 'the broker never answers some questions, whatever their budget',
    caughtBy: ['I5'],
    profile: 'calm',
    makers: brokerWith((real) => {
      let asked = 0;
      return {
        observe: (volume, options) => {
          asked += 1;
          return asked % 7 === 0 ? new Promise(() => undefined) : real.observe(volume, options);
        },
      };
    }),
  },
  {
    defect: 'one volume at a time',
    caughtBy: ['I5'],
    profile: 'volumes',
    makers: brokerWith((real) => {
      let last: Promise<unknown> = Promise.resolve();
      return {
        step: (volume, kind, budgetMs) => {
          const mine = last.then(() => real.step(volume, kind, budgetMs));
          last = mine;
          return mine;
        },
      };
    }),
  },
  {
    defect: 'what is mounted is not seen when a mount is let go',
    caughtBy: ['I3', 'I6'],
    profile: 'calm',
    makers: brokerWith((real) => ({
      observe: async (volume, options) => {
        const seen = await real.observe(volume, options);
        return options.probe === null ? { ...seen, mounts: [], directory: 'absent' } : seen;
      },
    })),
  },
  {
    defect: "strangers' mounts are taken for ours",
    caughtBy: ['I4', 'I6', 'I7'],
    profile: 'volumes',
    makers: machineWith(({ table }) => {
      const disguised: Machine['table']['at'] = (mountPoint) => {
        const entries = table.at(mountPoint);
        const first = entries[0];
        return entries.map((entry) =>
          first === undefined ? entry : { ...entry, source: first.source, fsType: first.fsType },
        );
      };
      return { table: { ...table, at: disguised } };
    }),
  },
  {
    defect: 'incomplete evidence from domains is taken for complete',
    caughtBy: ['I1'],
    profile: 'points',
    makers: hearing((survey) => (survey === null ? null : { ...survey, complete: true })),
  },
  {
    defect: 'that nothing could be read of the domains is taken for there being none',
    caughtBy: ['I1'],
    profile: 'points',
    makers: hearing((survey) => survey ?? { domains: [], complete: true }),
  },
  {
    defect: 'evidence from domains is acted upon however young it is',
    caughtBy: ['I1'],
    profile: 'points',
    makers: settingsWith((policy) => ({ ...policy, ageMs: 0 })),
  },
  {
    defect: 'stopped domains are no evidence',
    caughtBy: ['I1'],
    profile: 'points',
    makers: hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.filter(({ running }) => running) },
    ),
  },
  {
    defect: 'files that disks rest on are no evidence',
    caughtBy: ['I1'],
    profile: 'points',
    makers: hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.map((domain) => ({ ...domain, otherFiles: [] })) },
    ),
  },
  {
    defect: 'another file of the domain on the leaf, as a snapshot leaves it, is no evidence',
    caughtBy: ['I1', 'I2'],
    profile: 'points',
    makers: hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.map(withoutFile('of-nobody')) },
    ),
  },
  {
    defect: 'holds are lifted by evidence although only the operator may',
    caughtBy: ['I1'],
    profile: 'points',
    makers: settingsWith((policy) => ({ ...policy, liftHolds: 'evidence' })),
  },
  {
    defect: 'orphans are released although they are only to be reported',
    caughtBy: ['I2'],
    profile: 'calm',
    makers: settingsWith((policy) => ({ ...policy, orphans: 'release' })),
  },
  {
    defect: 'an abort cuts whatever the operator names, hung or not',
    caughtBy: ['I1'],
    profile: 'volumes',
    makers: childrenWith((child) => ({
      post: (id, job) => (job.kind === 'probe' && job.access === 'read-only' ? undefined : child.post(id, job)),
    })),
  },
  {
    defect: 'the witness of the boot is not read',
    caughtBy: ['I1'],
    profile: 'records',
    makers: { ...REAL, openStore: (place, bootId) => openPlace(place, bootId, { ...place, witness: null }) },
  },
  {
    defect: 'the records of an older copy are taken over without holds',
    caughtBy: ['I1'],
    profile: 'records',
    makers: {
      ...REAL,
      openStore: (place: Place, bootId: string): Store => {
        const store = openPlace(place, bootId);
        if (store.load().origin === 'damaged') place.database?.exec('DELETE FROM holds');
        return store;
      },
    },
  },
  {
    defect: 'nobody looks at mounts unasked',
    caughtBy: ['I2', 'I5'],
    profile: 'volumes',
    makers: {
      ...REAL,
      settings: (bootId, evidence) => ({ ...REAL.settings(bootId, evidence), healthIntervalMs: 1e9 }),
    },
  },
  {
    defect: 'mounts are sometimes overlooked, and mounted over',
    caughtBy: ['I7', 'I8'],
    profile: 'volumes',
    makers: machineWith(({ table, directories }) => ({
      table: { ...table, at: (mountPoint) => (table.at(mountPoint).length % 2 === 1 ? [] : table.at(mountPoint)) },
      directories: {
        ...directories,
        leafState: (base, leaf) => {
          const state = directories.leafState(base, leaf);
          return state === 'mounted' ? 'empty' : state;
        },
      },
    })),
  },
];

/** A domain that does not tell of files with this name. */
function withoutFile(name: string): (domain: Domain) => Domain {
  const others = (path: string | null): boolean => path?.endsWith(`/${name}`) !== true;
  return (domain) => ({
    ...domain,
    disks: domain.disks.filter(({ path }) => others(path)),
    otherFiles: domain.otherFiles.filter(others),
  });
}
