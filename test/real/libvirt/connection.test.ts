// Our libvirt client against a real libvirtd with real QEMU guests, and compared with what virsh says.

import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Domain, type DomainUuid, parseDomainName, type Survey } from '../../../src/core/domains.js';
import { openLibvirt } from '../../../src/hypervisor/libvirt/domains.js';
import type { DeviceEvent, Libvirt } from '../../../src/hypervisor/libvirt/libvirt.js';
import { systemClock } from '../../../src/sys/clock.js';
import { domainXml, lacksLibvirt, Libvirtd } from '../../rig/libvirt.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const MEGABYTE = 1_048_576;
/** Domains that go at the same time as a survey. */
const LEAVING_AT_ONCE = 20;
const BUDGET_MS = 20_000;
const ABSENT = '00000000-1111-2222-3333-444444444444' as DomainUuid;

let libvirtd: Libvirtd;
let libvirt: Libvirt;
let dir: string;
/** A new raw image of one megabyte. */
function image(name: string): string {
  const path = join(dir, name);
  writeFileSync(path, '');
  truncateSync(path, MEGABYTE);
  return path;
}

const disk = (path: string, target: string, format = 'raw'): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/>` +
  `<target dev='${target}' bus='${target.startsWith('sd') ? 'scsi' : 'virtio'}'/></disk>`;

const find = (name: string): Promise<Domain> => libvirt.domain(parseDomainName(name, 'domain'), BUDGET_MS);
const boot = async (name: string, devices = ''): Promise<DomainUuid> =>
  (await libvirtd.boot({ name, devices })) as DomainUuid;
const targets = async (name: string): Promise<readonly string[]> =>
  (await find(name)).disks.map(
    ({ target, live, persistent }) => `${target}:${live ? 'l' : ''}${persistent ? 'p' : ''}`,
  );

/** What virsh says of a domain's files: target and source of each disk. */
async function virshDisks(name: string, ...more: readonly string[]): Promise<readonly string[]> {
  const lines = (await libvirtd.virsh('domblklist', name, '--details', ...more)).split('\n').slice(2);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words.length === 4)
    .map(([, , target = '', source = '']) => `${target} ${source}`)
    .sort();
}

async function virshSays(survey: Survey): Promise<void> {
  const all = (await libvirtd.virsh('list', '--all', '--uuid')).split('\n').filter((line) => line !== '');
  const running = (await libvirtd.virsh('list', '--uuid')).split('\n').filter((line) => line !== '');
  expect(survey.domains.map(({ uuid }) => uuid).sort()).toEqual([...all].sort());
  expect(
    survey.domains
      .filter((one) => one.running)
      .map(({ uuid }) => uuid)
      .sort(),
  ).toEqual([...running].sort());
}

async function virshSaysOf({ name, running, disks }: Domain): Promise<void> {
  const ours = (which: 'live' | 'persistent'): readonly string[] =>
    disks
      .filter((one) => one[which])
      .map(({ target, path }) => `${target} ${path ?? '-'}`)
      .sort();
  expect(ours('persistent'), name).toEqual(await virshDisks(name, '--inactive'));
  if (running) expect(ours('live'), name).toEqual(await virshDisks(name));
}

const why = lacksLibvirt();
describe.skipIf(why !== null)(why === null ? "libvirt's client" : `libvirt's client (skipped: ${why})`, () => {
  beforeAll(async () => {
    libvirtd = await Libvirtd.start();
    libvirt = openLibvirt({ socket: '', uri: 'qemu:///system', clock: systemClock });
    dir = mkdtempSync('/tmp/fairlead-test-');
    chmodSync(dir, 0o755);
  });
  afterAll(async () => {
    libvirt.close();
    await libvirtd.shutDown();
    rmSync(dir, { recursive: true });
  });

  describe('a survey', () => {
    it('sees running and stopped domains as virsh does, and both lives of each', async () => {
      const base = image('base');
      const overlay = join(dir, 'overlay.qcow2');
      const made = await run('/usr/bin/qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', overlay]);
      expect(made.stderr).toBe('');
      await boot('seen', disk(overlay, 'vda', 'qcow2') + disk(image('both'), 'vdb'));
      await libvirtd.define({ name: 'still', devices: disk(image('still'), 'vda') });
      await libvirtd.virsh('attach-disk', 'seen', image('hot'), 'vdc', '--live', '--subdriver', 'raw');
      await libvirtd.virsh('attach-disk', 'seen', image('later'), 'vdd', '--config', '--subdriver', 'raw');

      const survey = await libvirt.survey(BUDGET_MS);
      expect(survey.complete).toBe(true);
      await virshSays(survey);
      for (const domain of survey.domains) await virshSaysOf(domain);
      const seen = survey.domains.find(({ name }) => name === 'seen');
      expect(await targets('seen')).toEqual(['vda:lp', 'vdb:lp', 'vdc:l', 'vdd:p']);
      expect(seen?.disks[0]).toMatchObject({ bus: 'virtio', format: 'qcow2', path: overlay, readOnly: false });
      // The image below the overlay: only the running domain's description names it.
      expect(seen?.otherFiles).toContain(base);
    });

    it('takes nothing of a transient domain for its next start', async () => {
      await boot('fleeting', disk(image('fleeting'), 'vda'));
      await libvirtd.virsh('undefine', 'fleeting');
      expect(await targets('fleeting')).toEqual(['vda:l']);
      await libvirtd.virsh('destroy', 'fleeting');
      await expect(find('fleeting')).rejects.toMatchObject({ code: 'not-found' });
    });

    it('knows with which disks a domain that was put to sleep will wake up', async () => {
      await boot('sleeper', disk(image('sleeper'), 'vda'));
      await libvirtd.virsh('attach-disk', 'sleeper', image('dream'), 'vdb', '--live', '--subdriver', 'raw');
      await libvirtd.virsh('managedsave', 'sleeper');
      expect((await find('sleeper')).running).toBe(false);
      expect(await targets('sleeper')).toEqual(['vda:p', 'vdb:p']);
      await libvirtd.virsh('start', 'sleeper');
      expect(await targets('sleeper')).toEqual(['vda:lp', 'vdb:l']);
      await libvirtd.virsh('destroy', 'sleeper');
    });

    it('knows what snapshots and checkpoints name, and where a backup goes that is being made', async () => {
      const made = async (name: string): Promise<string> => {
        const path = join(dir, name);
        expect((await run('/usr/bin/qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M'])).stderr).toBe('');
        chmodSync(path, 0o666);
        return path;
      };
      chmodSync(dir, 0o777);
      const [before, after] = [await made('before.qcow2'), join(dir, 'after.qcow2')];
      await libvirtd.define({ name: 'remembering', devices: disk(before, 'vda', 'qcow2') });
      const snapshot = ['snapshot-create-as', 'remembering', 's', '--disk-only', '--diskspec', `vda,file=${after}`];
      await libvirtd.virsh(...snapshot);
      const stopped = await find('remembering');
      // libvirt itself tells no more of it: only the snapshot knows what the new image rests on.
      expect(stopped.disks.map(({ path }) => path)).toEqual([after]);
      expect(stopped.otherFiles.filter((path) => path.startsWith(dir))).toEqual([]);
      expect([stopped.remembered.includes(before), stopped.unknown]).toEqual([true, 'backing']);
      expect((await libvirt.survey(BUDGET_MS)).domains.find(({ name }) => name === 'remembering')).toEqual(stopped);

      const saved = await made('saved.qcow2');
      await boot('saving', disk(saved, 'vda', 'qcow2'));
      await libvirtd.virsh('checkpoint-create-as', 'saving', 'c');
      const backup = join(dir, 'backup.xml');
      writeFileSync(
        backup,
        `<domainbackup mode='pull'><server transport='unix' socket='${dir}/nbd'/><disks>` +
          `<disk name='vda' backup='yes' type='file'><scratch file='${dir}/scratch'/></disk></disks></domainbackup>`,
      );
      await libvirtd.virsh('backup-begin', 'saving', backup);
      const survey = await libvirt.survey(BUDGET_MS);
      const saving = survey.domains.find(({ name }) => name === 'saving');
      expect(survey.complete).toBe(true);
      expect(saving?.otherFiles).toContain(join(dir, 'scratch'));
      expect([saving?.remembered.includes(saved), saving?.unknown]).toEqual([true, undefined]);
      await libvirtd.virsh('domjobabort', 'saving');
      await libvirtd.virsh('destroy', 'saving');
      await libvirtd.virsh('undefine', 'saving', '--checkpoints-metadata');
      await libvirtd.virsh('undefine', 'remembering', '--snapshots-metadata');
    });

    it("knows where volumes of libvirt's own pools lie, and says when it does not", async () => {
      await libvirtd.virsh('pool-create-as', 'pool', 'dir', '--target', dir);
      await libvirtd.virsh('vol-create-as', 'pool', 'volume.raw', '1M', '--format', 'raw');
      const source =
        "<disk type='volume'><driver type='raw'/><source pool='pool' volume='volume.raw'/><target dev='vda'/></disk>";
      await libvirtd.define({ name: 'pooled', devices: source });
      expect((await find('pooled')).otherFiles).toEqual([join(dir, 'volume.raw')]);
      expect((await libvirt.survey(BUDGET_MS)).complete).toBe(true);
      await libvirtd.virsh('pool-destroy', 'pool');
      expect((await libvirt.survey(BUDGET_MS)).complete).toBe(false);
      await libvirtd.virsh('undefine', 'pooled');
      expect((await libvirt.survey(BUDGET_MS)).complete).toBe(true);
    });

    it('reads 200 domains as virsh does, while others come and go', async () => {
      const names = Array.from({ length: 200 }, (_, index) => `crowd-${index}`);
      const file = image('crowd');
      const xml = (name: string): string => join(dir, `${name}.xml`);
      for (const name of names) writeFileSync(xml(name), domainXml({ name, devices: disk(file, 'vda') }));
      await libvirtd.virsh(names.map((name) => `define ${xml(name)}`).join(';'));
      const began = performance.now();
      const survey = await libvirt.survey(BUDGET_MS);
      console.log(`a survey of ${survey.domains.length} domains took ${Math.round(performance.now() - began)} ms`);
      expect(survey.complete).toBe(true);
      await virshSays(survey);
      expect(survey.domains.filter(({ disks }) => disks.some(({ path }) => path === file))).toHaveLength(200);

      const meanwhile: Survey[] = [];
      for (let first = 0; first < names.length; first += LEAVING_AT_ONCE) {
        const some = names.slice(first, first + LEAVING_AT_ONCE);
        const leaving = libvirtd.virsh(some.map((name) => `undefine ${name}`).join(';'));
        meanwhile.push(await libvirt.survey(BUDGET_MS));
        await leaving;
      }
      expect(meanwhile.every(({ complete }) => complete)).toBe(true);
      // They were surveyed while they left, or this would prove nothing.
      expect(new Set(meanwhile.map(({ domains }) => domains.length)).size).toBeGreaterThan(2);
    });
  });

  describe('a disk', () => {
    it('is attached, grown and detached, live and for the next start', async () => {
      const uuid = await boot('changing');
      const path = image('changing');
      const xml = disk(path, 'sda');
      const events: DeviceEvent[] = [];
      const stop = libvirt.onDevice((event) => events.push(event));

      await libvirt.attachDevice(uuid, xml, 'both', BUDGET_MS);
      expect(await targets('changing')).toEqual(['sda:lp']);
      await virshSaysOf(await find('changing'));
      expect(await libvirt.blockInfo(uuid, 'sda', BUDGET_MS)).toMatchObject({ capacity: MEGABYTE, physical: MEGABYTE });

      await libvirt.blockResize(uuid, 'sda', 3 * MEGABYTE + 512, BUDGET_MS);
      expect(await libvirt.blockInfo(uuid, 'sda', BUDGET_MS)).toMatchObject({ capacity: 3 * MEGABYTE + 512 });
      expect(statSync(path).size).toBe(3 * MEGABYTE + 512);

      await libvirt.detachDevice(uuid, xml, 'config', BUDGET_MS);
      expect(await targets('changing')).toEqual(['sda:l']);
      // A SCSI disk goes without the guest's help; this guest has only its BIOS.
      await libvirt.detachDevice(uuid, xml, 'live', BUDGET_MS);
      await until('it is gone', async () => (await targets('changing')).length === 0);
      await until('the event', () => events.length > 0);
      expect(events[0]).toMatchObject({ domain: uuid, what: 'removed' });
      stop();
    });

    it('that is refused says why, and leaves libvirt as it was', async () => {
      const uuid = await boot('refusing');
      const stopped = (await libvirtd.define({ name: 'stopped' })) as DomainUuid;
      const path = image('refused');
      const refusals = {
        'no such domain': () => libvirt.attachDevice(ABSENT, disk(path, 'vda'), 'live', BUDGET_MS),
        'no such file': () => libvirt.attachDevice(uuid, disk(join(dir, 'nowhere'), 'vda'), 'live', BUDGET_MS),
        'no XML': () => libvirt.attachDevice(uuid, '<disk', 'live', BUDGET_MS),
        'not running': () => libvirt.attachDevice(stopped, disk(path, 'vda'), 'live', BUDGET_MS),
        'no such disk to detach': () => libvirt.detachDevice(uuid, disk(path, 'vdc'), 'live', BUDGET_MS),
        'no such disk to measure': () => libvirt.blockInfo(uuid, 'vdc', BUDGET_MS),
        'no such disk to grow': () => libvirt.blockResize(uuid, 'vdc', MEGABYTE, BUDGET_MS),
        'no such name': () => find('nobody'),
        'no such UUID': () => find(ABSENT),
      };
      const codes: Record<string, string> = {};
      for (const [what, refusal] of Object.entries(refusals)) {
        codes[what] = await refusal().then(
          () => 'it was done',
          (error: unknown) => (error as { code: string }).code,
        );
      }
      expect(codes).toEqual({
        'no such domain': 'not-found',
        'no such file': 'helper-failed',
        'no XML': 'invalid-argument',
        'not running': 'conflict',
        'no such disk to detach': 'not-found',
        'no such disk to measure': 'invalid-argument',
        'no such disk to grow': 'invalid-argument',
        'no such name': 'not-found',
        'no such UUID': 'not-found',
      });
      expect(await targets('refusing')).toEqual([]);
    });
  });

  describe('guests that hang', () => {
    it('hold up nothing but what is asked of them, in libvirtd too', async () => {
      const names = Array.from({ length: 8 }, (_, index) => `hanging-${index}`);
      const hanging: DomainUuid[] = [];
      for (const name of names) hanging.push(await boot(name, disk(image(name), 'vda')));
      const pids = names.map((name) => Number(readFileSync(`/run/libvirt/qemu/${name}.pid`, 'utf8')));
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      const asking = (uuid: DomainUuid): Promise<string> =>
        libvirt.blockInfo(uuid, 'vda', 5000).then(
          () => 'answered',
          (error: unknown) => (error as { code: string }).code,
        );
      // All of them at once, and each of them five times.
      const hung = Array.from({ length: 5 }, () => hanging.map(asking)).flat();
      const began = performance.now();
      const survey = await libvirt.survey(BUDGET_MS);
      expect(survey.complete).toBe(true);
      await virshSaysOf(await find('seen'));
      expect((await libvirtd.virsh('list', '--name')).split('\n')).toContain('hanging-0');
      expect(performance.now() - began).toBeLessThan(4000);
      expect(new Set(await Promise.all(hung))).toEqual(new Set(['deadline-exceeded', 'busy']));
      expect((await libvirt.survey(BUDGET_MS)).complete).toBe(true);

      for (const pid of pids) process.kill(pid, 'SIGCONT');
      for (const uuid of hanging) {
        await until('it answers', async () => (await libvirt.blockInfo(uuid, 'vda', BUDGET_MS)).capacity === MEGABYTE);
      }
    });
  });

  describe('libvirtd', () => {
    it('that is stopped holds up no call for longer than its budget, and answers again when it goes on', async () => {
      await find('still');
      process.kill(libvirtd.pid, 'SIGSTOP');
      const began = performance.now();
      const calls = Array.from({ length: 20 }, () =>
        libvirt.survey(500).then(
          () => 'answered',
          (error: unknown) => (error as { code: string }).code,
        ),
      );
      const ends = new Set(await Promise.all(calls));
      expect(performance.now() - began).toBeLessThan(1500);
      expect([...ends].every((end) => end === 'deadline-exceeded' || end === 'unavailable')).toBe(true);
      process.kill(libvirtd.pid, 'SIGCONT');
      expect((await find('still')).name).toBe('still');
    });

    it('that is killed is unavailable, and reached again when it is back; its guests stay', async () => {
      await find('seen');
      await libvirtd.down('SIGKILL');
      await expect(libvirt.survey(BUDGET_MS)).rejects.toMatchObject({ code: 'unavailable' });
      await libvirtd.up();
      expect((await find('seen')).running).toBe(true);
      expect(await targets('seen')).toEqual(['vda:lp', 'vdb:lp', 'vdc:l', 'vdd:p']);
    });

    it('that is killed while it is at work ends what waits at once', async () => {
      process.kill(libvirtd.pid, 'SIGSTOP');
      const waiting = libvirt.survey(BUDGET_MS);
      const refused = expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
      const began = performance.now();
      await libvirtd.down('SIGKILL');
      await refused;
      expect(performance.now() - began).toBeLessThan(3000);
      await libvirtd.up();
      expect((await libvirt.survey(BUDGET_MS)).complete).toBe(true);
    });
  });
});
