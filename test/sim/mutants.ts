// Fairlead with one known defect each: a faulty part around, or in the place of, a real one. The judges must catch every
// one of them, each by the invariant that it breaks; a simulation that cannot fail proves nothing.

import type { Store } from './disk.js';
import * as faults from './faults.js';
import { openPlace, type Place } from './ledger.js';
import { REAL } from './makers.js';
import type { Makers } from './processes.js';
import { LOCAL_LEAF } from './world.js';

/** A defect, and what must catch it. */
export interface Mutant {
  readonly defect: string;
  /** Invariants that it breaks: one of them must be seen to break. */
  readonly caughtBy: readonly string[];
  /** Under which profile it is looked for. */
  readonly profile: string;
  readonly makers: Makers;
}

/** The gallery. */
export const MUTANTS: readonly Mutant[] = [
  {
    defect: 'the broker unmounts although somebody is attached',
    caughtBy: ['I1'],
    profile: 'calm',
    makers: faults.brokerWith((real) => ({
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
    makers: faults.childrenWith((child) => ({
      post: (id, job) => child.post(id, job.kind === 'unmount' ? { ...job, mode: 'detach' } : job),
    })),
  },
  {
    defect: 'holds are acknowledged and not stored',
    caughtBy: ['I1', 'I3'],
    profile: 'points',
    makers: faults.forgetting('put-hold'),
  },
  {
    defect: 'attachments are acknowledged and not stored',
    caughtBy: ['I2'],
    profile: 'processes',
    makers: faults.forgetting('put-attachment'),
  },
  {
    defect: 'commits are acknowledged before they are on the disk',
    caughtBy: ['I1', 'I2', 'I3', 'I6'],
    profile: 'processes',
    makers: faults.ledgerWith((real) => ({
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
    makers: faults.ledgerWith((real) => ({
      commit: (changes) => real.commit(changes.filter((change) => !faults.isIntent(change))),
    })),
  },
  {
    defect: 'leaf directories are not removed',
    caughtBy: ['I3'],
    profile: 'calm',
    makers: faults.machineWith(({ directories }) => ({ directories: { ...directories, removeLeaf: () => 'removed' } })),
  },
  {
    defect: 'units have no fixed name, and are not ended',
    caughtBy: ['I3', 'I8'],
    profile: 'volumes',
    makers: faults.machineWith(({ units }) => {
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
    makers: faults.brokerWith((real) => ({
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
    makers: faults.brokerWith((real) => ({
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
    defect: 'a stopped probe child is taken for a hung server',
    caughtBy: ['I6'],
    profile: 'volumes',
    makers: faults.childrenWith(() => ({
      ping: (answered) => {
        queueMicrotask(answered);
      },
    })),
  },
  {
    defect: 'the broker never answers some questions, whatever their budget',
    caughtBy: ['I5'],
    profile: 'calm',
    makers: faults.brokerWith((real) => {
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
    makers: faults.brokerWith((real) => {
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
    makers: faults.brokerWith((real) => ({
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
    makers: faults.tableWith((table) => ({
      at: (mountPoint) => {
        const entries = table.at(mountPoint);
        const first = entries[0];
        return entries.map((entry) =>
          first === undefined ? entry : { ...entry, source: first.source, fsType: first.fsType },
        );
      },
    })),
  },
  {
    defect: 'incomplete evidence from domains is taken for complete',
    caughtBy: ['I1'],
    profile: 'points',
    makers: faults.hearing((survey) => (survey === null ? null : { ...survey, complete: true })),
  },
  {
    defect: 'that nothing could be read of the domains is taken for there being none',
    caughtBy: ['I1', 'I6'],
    profile: 'points',
    makers: faults.hearing((survey) => survey ?? { domains: [], complete: true }),
  },
  {
    defect: 'evidence from domains is acted upon however young it is',
    caughtBy: ['I1'],
    profile: 'points',
    makers: faults.settingsWith((policy) => ({ ...policy, ageMs: 0 })),
  },
  {
    defect: 'stopped domains are no evidence',
    caughtBy: ['I1'],
    profile: 'points',
    makers: faults.hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.filter(({ running }) => running) },
    ),
  },
  {
    defect: 'files that disks rest on are no evidence',
    caughtBy: ['I1'],
    profile: 'points',
    makers: faults.hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.map((domain) => ({ ...domain, otherFiles: [] })) },
    ),
  },
  {
    defect: 'another file of the domain on the leaf, as a snapshot leaves it, is no evidence',
    caughtBy: ['I1', 'I2'],
    profile: 'points',
    makers: faults.hearing((survey) =>
      survey === null ? null : { ...survey, domains: survey.domains.map(faults.withoutFile('of-nobody')) },
    ),
  },
  {
    defect: 'holds are lifted by evidence although only the operator may',
    caughtBy: ['I1'],
    profile: 'points',
    makers: faults.settingsWith((policy) => ({ ...policy, liftHolds: 'evidence' })),
  },
  {
    defect: 'orphans are released although they are only to be reported',
    caughtBy: ['I2'],
    profile: 'calm',
    makers: faults.settingsWith((policy) => ({ ...policy, orphans: 'release' })),
  },
  {
    defect: 'an abort cuts whatever the operator names, hung or not',
    caughtBy: ['I1'],
    profile: 'volumes',
    makers: faults.childrenWith((child) => ({
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
    defect: 'a libvirt that is down at the start counts as none',
    caughtBy: ['I1'],
    profile: 'records',
    makers: faults.settingsWith((policy) => ({ ...policy, isExpected: () => false })),
  },
  {
    defect: 'the doubt about a ledger ends before its holds do',
    caughtBy: ['I1'],
    profile: 'records',
    makers: faults.ledgerWith((real) => ({
      load: async () => ({ ...(await real.load()), origin: 'existing', setAside: [] }),
    })),
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
    caughtBy: ['I6', 'I7', 'I8'],
    profile: 'volumes',
    makers: faults.machineWith(({ table, directories }) => ({
      table: faults.around(table, {
        at: (mountPoint) => (table.at(mountPoint).length % 2 === 1 ? [] : table.at(mountPoint)),
      }),
      directories: {
        ...directories,
        leafState: (base, leaf) => {
          const state = directories.leafState(base, leaf);
          return state === 'mounted' ? 'empty' : state;
        },
      },
    })),
  },
  {
    defect: 'a client is ended as soon as its mount is unmounted',
    caughtBy: ['I1'],
    profile: 'outsiders',
    makers: faults.unmounted((units, base, leaf) => faults.endUnits(units, base, leaf)),
  },
  {
    defect: 'a client whose mount is not at the leaf counts as left over, and is ended before the next mount',
    caughtBy: ['I1'],
    profile: 'outsiders',
    makers: faults.machineWith(({ units }) => ({
      units: {
        ...units,
        start: async (spec) => {
          for (const [base, leaf] of faults.sitesOf(spec.unit)) await faults.endUnits(units, base, leaf, spec.unit);
          return units.start(spec);
        },
      },
    })),
  },
  {
    defect: 'a superblock that is not mounted at the leaf counts as gone',
    caughtBy: ['I1', 'I3', 'I6'],
    profile: 'outsiders',
    makers: faults.machineWith(({ superblocks, table }) => ({
      superblocks: {
        at: (dev) => (table.below('/').some((entry) => entry.dev === dev) ? superblocks.at(dev) : 'none'),
        all: () => [],
      },
    })),
  },
  {
    defect: 'a mount at the leaf that is not root’s, or of another kind, is no helper’s',
    caughtBy: ['I1'],
    profile: 'volumes',
    makers: faults.machineWith(({ superblocks, table }) => ({
      superblocks: faults.without(superblocks, () =>
        table
          .below('/')
          .filter(({ fsType, superOptions }) => fsType !== 'fuse.quobyte' || !superOptions.includes('user_id=0')),
      ),
    })),
  },
  {
    defect: 'a mount of a part of a volume is no helper’s',
    caughtBy: ['I1'],
    profile: 'outsiders',
    makers: faults.machineWith(({ superblocks, table }) => ({
      superblocks: faults.without(superblocks, () => table.below('/').filter(faults.isPart)),
    })),
  },
  {
    defect: 'a part of a volume that another namespace shows is no helper’s',
    caughtBy: ['I1'],
    profile: 'outsiders',
    makers: faults.machineWith(({ superblocks, namespaces }) => ({
      superblocks: faults.without(superblocks, () => namespaces.mounts(faults.isPart) ?? []),
    })),
  },
  {
    defect: 'a helper of an earlier broker is taken for one at work, whatever became of it',
    caughtBy: ['I2', 'I3', 'I5', 'I6'],
    profile: 'outsiders',
    makers: faults.machineWith(({ processes, units }) => ({
      uptime: () => 0,
      processes: { ...processes, runs: () => true },
      units: {
        ...units,
        state: async (unit) => {
          const state = await units.state(unit);
          return state === 'occupied' ? 'starting' : state;
        },
      },
    })),
  },
  {
    defect: 'nothing is noted of clients before they begin',
    caughtBy: ['I1', 'I3', 'I6'],
    profile: 'outsiders',
    makers: faults.machineWith(({ notes }) => ({ notes: { ...notes, write: () => undefined } })),
  },
  {
    defect: 'a directory is told by its path',
    caughtBy: ['I4', 'I6'],
    profile: 'volumes',
    makers: faults.answering((answer) =>
      answer.kind === 'identify' && answer.source !== null && answer.mounted !== null
        ? { ...answer, source: { dev: answer.mounted.dev, inode: answer.mounted.inode } }
        : answer,
    ),
  },
  {
    defect: 'of the binds at a leaf only the one that was seen last is known',
    caughtBy: ['I3', 'I6'],
    profile: 'volumes',
    makers: faults.boundWith((bound) => ({
      learn: (place, directory, mount) => {
        bound.drop(place);
        bound.learn(place, directory, mount);
      },
    })),
  },
  {
    defect: 'a bind that is not at its leaf counts as gone',
    caughtBy: ['I6'],
    profile: 'outsiders',
    makers: faults.tableWith(() => ({ has: () => false })),
  },
  {
    defect: 'a mount that another hides counts as one at its leaf',
    caughtBy: ['I6'],
    profile: 'outsiders',
    makers: faults.tableWith((table) => ({
      at: (path) => [...table.at('/'), ...table.below('/')].filter(({ mountPoint }) => mountPoint === path),
    })),
  },
  {
    defect: 'a mount of the number that ours had counts as ours',
    caughtBy: ['I3', 'I6'],
    profile: 'volumes',
    makers: faults.tableWith((table) => ({
      has: ({ mountId }) => table.below('/').some((entry) => entry.mountId === mountId),
    })),
  },
  {
    defect: 'what the kernel tells nobody of is not looked for: bases that are renamed',
    caughtBy: ['I3', 'I5', 'I6'],
    profile: 'outsiders',
    makers: faults.tableWith(() => ({ forget: () => undefined })),
  },
  {
    defect: 'of a stack only the topmost mount is seen',
    caughtBy: ['I3', 'I6'],
    profile: 'volumes',
    makers: faults.tableWith((table) => ({ at: (mountPoint) => table.at(mountPoint).slice(-1) })),
  },
  {
    defect: 'whose mount it is that names the volume is not asked',
    caughtBy: ['I4', 'I6', 'I7'],
    profile: 'volumes',
    makers: faults.tableWith((table) => ({
      at: (mountPoint) => table.at(mountPoint).map((entry) => ({ ...entry, superOptions: ['rw', 'user_id=0'] })),
    })),
  },
  {
    defect: 'nobody watches the leaves',
    caughtBy: ['I3'],
    profile: 'outsiders',
    makers: faults.brokerWith(() => ({ watch: () => new Promise(() => undefined) })),
  },
  {
    defect: 'a local mount that is found after the ledger was lost is not held',
    caughtBy: ['I1'],
    profile: 'everything',
    makers: faults.committing((change) => change.kind !== 'put-hold' || change.hold.leaf !== LOCAL_LEAF),
  },
  {
    defect: 'processes of other namespaces are nobody',
    caughtBy: ['I1'],
    profile: 'outsiders',
    makers: faults.machineWith(({ processes }) => ({
      processes: { ...processes, holding: () => Promise.resolve({ holders: [], complete: true }) },
    })),
  },
  {
    defect: 'the operator lifts holds whatever uses the mount',
    caughtBy: ['I1'],
    profile: 'records',
    makers: {
      ...REAL,
      wrapEngine: (real) => ({
        ...real,
        liftHold: (request, context) => real.liftHold({ ...request, force: true }, context),
      }),
    },
  },
];
