// R26: what the unit tests of the driver that Fairlead takes the place of say about visible behaviour, function by
// function, as a table. Each row is carried out against Fairlead; where Fairlead differs on purpose, the row says how and
// why, and its check holds the difference. The same on real mounts, through the door for Nova: test/real/nova/cases.test.ts.

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { backendOf, parseVolume } from '../../../src/backends/registry.js';
import { argumentVector } from '../../../src/core/argv.js';
import { describeDisk, diskXml, parseDiskFormat } from '../../../src/core/disk.js';
import { parseDiskName } from '../../../src/core/names.js';
import { diskPathOf, mountpointOf } from '../../../src/core/paths.js';
import type { MountEntry } from '../../../src/core/mountinfo.js';
import type { Judgement, ProbeFacts } from '../../../src/core/verdict.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { KernelUnits } from '../../../src/sys/units.js';
import { ALICE, Bench, codeOf, DEAD, HEALTHY, VOLUME } from '../engine/bench.js';
import { quobyteSettings } from '../backends/settings.js';
import { MOUNTPOINT } from '../broker/fake-machine.js';
import { exited, World } from './broker-bench.js';

/** One test function of the driver's suite. */
interface Behaviour {
  readonly number: number;
  /** Cases in that function. */
  readonly cases: number;
  readonly what: string;
  /** What Fairlead does otherwise on purpose, and why; absent where it stays as it was. */
  readonly differs?: string;
  /** Where else it is shown. */
  readonly elsewhere?: string;
  readonly check: () => void | Promise<void>;
}

const EXPORT = '192.168.1.1/volume-00001';
const NAME = 'volume-00000001';
const quobyte = backendOf('quobyte');

/** How helpers are started, asked twice, where systemctl says this; and how often it was asked. */
async function detected(state: string | null): Promise<readonly [string, string, number]> {
  const root = mkdtempSync(join(tmpdir(), 'fairlead-behaviour-'));
  try {
    const systemctl = join(root, 'systemctl');
    writeFileSync(join(root, 'asked'), '');
    writeFileSync(systemctl, `#!/bin/sh\necho "$@" >> ${root}/asked\necho ${state ?? ''}\nexit 1\n`);
    chmodSync(systemctl, 0o755);
    if (state !== null) mkdirSync(join(root, 'mark'));
    const manager = { mark: join(root, 'mark'), systemctl, systemdRun: join(root, 'systemd-run') };
    const units = new KernelUnits({ trustedDirs: [], choice: 'detect', manager });
    const ways = [await units.way(), await units.way()] as const;
    return [...ways, readFileSync(join(root, 'asked'), 'utf8').split('\n').length - 1];
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** The words that the mount helper gets. */
function mountWords(clientConfig: string | null): readonly string[] {
  const way = quobyte.mountWay(parseVolume(EXPORT), quobyteSettings({ clientConfig }), '/base/leaf');
  return way.way === 'helper' ? [way.program, ...argumentVector(way.args)] : [];
}

const entryOf = (source: string, fsType: string): MountEntry => ({
  mountId: 1,
  parentId: 0,
  dev: '0:1',
  root: '/',
  mountPoint: '/base/leaf',
  options: ['rw'],
  tags: [],
  fsType,
  source,
  superOptions: ['rw', 'user_id=0'],
});
const recognised = (source: string, fsType: string): boolean =>
  quobyte.recognises(entryOf(source, fsType), parseVolume(EXPORT));

function judged(facts: Partial<ProbeFacts>, rootSize: 'warn' | 'require' = 'warn'): Judgement {
  const sound: ProbeFacts = {
    statfs: { end: 'answered' },
    root: { isDirectory: true, size: 0, dev: '0:1', mode: 0o755 },
    write: 'granted',
    search: 'granted',
    witness: 'absent',
  };
  return quobyte.judge({ ...sound, ...facts }, 'read-write', quobyteSettings({ rootSize }));
}
const root = (size: number): ProbeFacts['root'] & object => ({ isDirectory: true, size, dev: '0:1', mode: 0o755 });

async function engine(): Promise<Bench> {
  const bench = new Bench();
  await bench.start();
  return bench;
}
const steps = (bench: Bench): readonly string[] => bench.effects().filter((effect) => effect.startsWith('step '));

const BEHAVIOURS: readonly Behaviour[] = [
  {
    number: 1,
    cases: 3,
    what: 'systemd that is starting, running or degraded is used, and asked once',
    differs: 'The name of process 1 is not asked: one exact directory and the manager’s own word decide.',
    check: async () => {
      for (const state of ['starting', 'running', 'degraded']) {
        expect(await detected(state)).toEqual(['service', 'service', 1]);
      }
    },
  },
  {
    number: 2,
    cases: 1,
    what: 'without the directory there is no systemd, and systemctl is not asked',
    check: async () => expect(await detected(null)).toEqual(['session', 'session', 0]),
  },
  {
    number: 3,
    cases: 1,
    what: 'a state that nobody knows is no systemd, and asked once',
    differs: 'initializing, stopping and maintenance are refused as retryable instead: the host is about to change.',
    check: async () => expect(await detected('bogus')).toEqual(['session', 'session', 1]),
  },
  {
    number: 4,
    cases: 2,
    what: 'mounting directly hands the helper volume, directory and, where there is one, the configuration',
    differs: 'The helper is named by an absolute path; the directory is made by a step of its own.',
    check: () => {
      const own = ['/usr/sbin/mount.quobyte', '--disable-xattrs', EXPORT, '/base/leaf'];
      expect(mountWords(null)).toEqual(own);
      expect(mountWords('/etc/quobyte/client.cfg')).toEqual([...own, '-c', '/etc/quobyte/client.cfg']);
    },
  },
  {
    number: 5,
    cases: 2,
    what: 'mounting below systemd hands the helper the same, once',
    differs: 'By default in a transient service and not in a scope, which would inherit the agent’s own sandbox.',
    elsewhere: 'The whole vector of systemd-run is held in r24-units.test.ts.',
    check: async () => {
      const world = new World();
      expect(await world.step('mount')).toEqual({ end: 'done', changed: true });
      expect(world.started).toHaveLength(1);
    },
  },
  {
    number: 6,
    cases: 1,
    what: 'a failing mount reaches the caller',
    differs: 'As a typed error, and what was made for it (the directory too) is gone again.',
    check: async () => {
      const world = new World();
      world.helper = () => exited(1);
      expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code: 'helper-failed' } });
      const bench = await engine();
      bench.once('step mount', () => ({
        end: 'refused',
        error: { code: 'helper-failed', message: 'x', retryable: true },
      }));
      const connect = bench.connect();
      await connect.promise.catch(() => undefined);
      expect([codeOf(connect), bench.at(VOLUME).directory]).toEqual(['helper-failed', 'absent']);
    },
  },
  {
    number: 7,
    cases: 1,
    what: 'unmounting without systemd unmounts the directory once',
    differs: 'By umount2 in a child, unless an unmount helper is set.',
    check: async () => {
      const world = new World();
      world.mount();
      expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
      expect(world.machine.effects.filter((effect) => effect.startsWith('umount'))).toEqual([
        `umount plain ${MOUNTPOINT}`,
      ]);
    },
  },
  {
    number: 8,
    cases: 1,
    what: 'unmounting below systemd unmounts the directory once',
    check: async () => {
      const world = new World({ unmountHelper: '/usr/bin/umount.quobyte' });
      world.mount();
      world.helper = () => {
        world.unmount();
        return exited(0);
      };
      expect(await world.step('unmount')).toEqual({ end: 'done', changed: true });
      expect(world.started).toMatchObject([{ args: [MOUNTPOINT] }]);
    },
  },
  {
    number: 9,
    cases: 1,
    what: 'a busy unmount is no exception',
    differs: 'It is told to the caller as the outcome busy, with who keeps it; a log line tells nobody.',
    check: async () => {
      const bench = await engine();
      await bench.connect().promise;
      bench.at(VOLUME).busy = true;
      expect((await bench.disconnect().promise).outcome).toBe('busy');
    },
  },
  {
    number: 10,
    cases: 1,
    what: 'any other failing unmount is no exception either',
    differs: 'It is told to the caller: the mount is still there, and the release goes on in the background.',
    check: async () => {
      const bench = await engine();
      await bench.connect().promise;
      bench.always('step unmount', () => ({
        end: 'refused',
        error: { code: 'helper-failed', message: 'x', retryable: true },
      }));
      expect((await bench.disconnect().promise).mounted).toBe(true);
      expect(bench.durable.mounts.get(VOLUME.leaf)?.state).toBe('releasing');
    },
  },
  {
    number: 11,
    cases: 1,
    what: 'a source that begins with quobyte@ is a Quobyte mount, also of the old type, and healthy with size 0',
    differs: 'The rest of the source counts as well: it must be the volume that was asked for.',
    check: () => {
      expect(recognised('quobyte@192.168.1.1/volume-00001', 'fuse')).toBe(true);
      expect(recognised('quobyte@192.168.1.1/volume-00002', 'fuse')).toBe(false);
      expect(judged({ root: root(0) }).verdict).toBe('healthy');
    },
  },
  {
    number: 12,
    cases: 1,
    what: 'the type fuse.quobyte with another source',
    differs: 'Passed there, is foreign here: the type does not say which volume it is.',
    check: () => expect(recognised('not-quobyte', 'fuse.quobyte')).toBe(false),
  },
  {
    number: 13,
    cases: 1,
    what: 'a mount that does not work is not valid',
    differs: 'Each way of not working has a verdict of its own.',
    check: () => {
      expect(judged({ statfs: { end: 'failed', errno: 'ENOTCONN' } })).toMatchObject({ verdict: 'stale', dead: true });
      expect(judged({ statfs: { end: 'failed', errno: 'EIO' } })).toMatchObject({ verdict: 'stale', dead: false });
      expect(judged({ statfs: { end: 'hung' } }).verdict).toBe('hung');
    },
  },
  {
    number: 14,
    cases: 1,
    what: 'no entry in the table is not valid, and connect mounts',
    differs: 'The verdict is absent; messages name the leaf and not the path.',
    check: async () => {
      const bench = await engine();
      expect((await bench.engine.validate(VOLUME, request)).verdict).toBe('absent');
      await bench.connect().promise;
      expect(steps(bench)).toEqual(['step make-leaf', 'step mount', 'step harden']);
    },
  },
  {
    number: 15,
    cases: 1,
    what: 'an entry of foreign source and type is not valid',
    differs: 'It is called foreign, refused and left alone, where the driver mounted over it.',
    check: async () => {
      const world = new World();
      world.mount({ source: 'foreign', fsType: 'ext4' });
      expect(await world.step('mount')).toMatchObject({ end: 'refused', error: { code: 'foreign' } });
      expect(world.machine.effects).toEqual([]);
    },
  },
  {
    number: 16,
    cases: 1,
    what: 'a root directory whose size is not 0 is stale',
    differs: 'By default it is told and not refused, since newer clients may differ; root_size = "require" refuses it.',
    check: () => {
      expect(judged({ root: root(1) }, 'require')).toMatchObject({ verdict: 'stale', dead: false });
      expect(judged({ root: root(1) }, 'warn').verdict).toBe('healthy');
      expect(judged({ root: root(1) }, 'warn').reason).toMatch(/size/);
    },
  },
  {
    number: 17,
    cases: 1,
    what: 'a dead mount is taken away once and mounted once, and the disk lies at base, digest and name',
    differs:
      'Only what is proven dead is taken away, and connect resolves only after the second validation has passed.',
    check: async () => {
      const bench = await engine();
      bench.mounted(VOLUME, { judgement: DEAD });
      const { path } = await bench.connect(VOLUME, ALICE, { disk: parseDiskName(NAME, 'disk') }).promise;
      expect(steps(bench)).toEqual(['step detach-dead', 'step mount', 'step harden']);
      expect(path).toBe(`/mnt/${VOLUME.leaf}/${NAME}`);
      expect(diskPathOf('/base', leafOf(EXPORT as Export), parseDiskName(NAME, 'disk'))).toBe(
        `/base/c94ed34ada0acf45c1213beb1fc52ce6/${NAME}`,
      );
    },
  },
  {
    number: 18,
    cases: 1,
    what: 'a healthy mount is not mounted again, and disconnect unmounts it once',
    differs:
      'Only with its last user; and a mount that nobody recorded is kept with a hold until the operator lifts it.',
    check: async () => {
      const bench = await engine();
      await bench.connect().promise;
      bench.effects();
      await bench.connect().promise;
      expect(steps(bench)).toEqual([]);
      expect((await bench.disconnect().promise).outcome).toBe('released');
      expect(steps(bench)).toEqual(['step unmount', 'step remove-leaf']);
    },
  },
  {
    number: 19,
    cases: 1,
    what: 'a mount that is there already is used, and its disk is described as any other',
    check: async () => {
      const bench = await engine();
      bench.mounted(VOLUME, { judgement: HEALTHY });
      expect(await bench.connect().promise).toMatchObject({ verdict: 'healthy', mountpoint: `/mnt/${VOLUME.leaf}` });
      expect(steps(bench)).toEqual([]);
      expect(diskOf('raw')).toContain('<driver name="qemu" type="raw" cache="none" io="native"/>');
    },
  },
  {
    number: 20,
    cases: 1,
    what: 'the format qcow2 stands in the disk’s description',
    differs: 'The format must be raw or qcow2; nothing else is handed on.',
    check: () => {
      expect(diskOf('qcow2')).toContain('<driver name="qemu" type="qcow2" cache="none" io="native"/>');
      expect(() => parseDiskFormat('raw,file.driver=x', 'format')).toThrow(/format must be one of/);
    },
  },
  {
    number: 21,
    cases: 1,
    what: 'a failed validation reaches the caller',
    differs: 'Every one does: the driver swallowed its own InvalidVolume and returned as if connected.',
    check: async () => {
      const bench = await engine();
      bench.mounted(VOLUME, { judgement: { verdict: 'stale', reason: 'Failing.', dead: false, errno: 'EIO' } });
      const connect = bench.connect();
      await connect.promise.catch(() => undefined);
      expect([codeOf(connect), bench.durable.attachmentsOf(VOLUME.leaf)]).toEqual(['unhealthy', []]);
    },
  },
  {
    number: 22,
    cases: 1,
    what: 'quobyte:// is taken off an export',
    check: () => expect(parseVolume(`quobyte://${EXPORT}`).export).toBe(EXPORT),
  },
  {
    number: 23,
    cases: 1,
    what: 'an export without quobyte:// stays as it is, and is the same volume',
    differs: 'A doubled scheme or another spelling of it is refused.',
    check: () => {
      expect(parseVolume(EXPORT)).toEqual(parseVolume(`quobyte://${EXPORT}`));
      expect(() => parseVolume(`quobyte://quobyte://${EXPORT}`)).toThrow();
      expect(() => parseVolume(`Quobyte://${EXPORT}`)).toThrow();
    },
  },
];

const request = { deadlineMs: 5000, signal: new AbortController().signal };

function diskOf(format: 'raw' | 'qcow2'): string {
  const volume = parseVolume(EXPORT);
  expect(mountpointOf('/base', volume.leaf)).toBe('/base/c94ed34ada0acf45c1213beb1fc52ce6');
  return diskXml(
    describeDisk({
      backend: 'quobyte',
      file: diskPathOf('/base', volume.leaf, parseDiskName(NAME, 'disk')),
      format: parseDiskFormat(format, 'format'),
      driver: { cache: 'none', io: 'native' },
      target: 'vdb',
      bus: 'virtio',
      access: 'read-write',
      options: {},
    }),
  );
}

describe('the visible behaviour of the driver', () => {
  it.each(BEHAVIOURS)('$number: $what', async ({ check }) => {
    await check();
  });

  it('is covered function by function and case by case, and what differs says why', () => {
    expect(BEHAVIOURS.map(({ number }) => number)).toEqual(Array.from({ length: 23 }, (_, index) => index + 1));
    expect(BEHAVIOURS.reduce((sum, { cases }) => sum + cases, 0)).toBe(27);
    for (const { differs, elsewhere } of BEHAVIOURS) {
      for (const text of [differs, elsewhere]) if (text !== undefined) expect(text.length).toBeGreaterThan(20);
    }
  });
});
