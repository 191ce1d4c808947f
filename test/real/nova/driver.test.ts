// Nova's own code, from its look-up of drivers down, through Fairlead's driver to mounts of the stand-in cluster: Debian's Nova with
// eventlet and with native threads, and the newest one.

import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeOnDead, Host, leafOfUrl } from '../../rig/host.js';
import { Compute, instanceOf, recordOf, whyNoNova, type NovaResult } from '../../rig/nova/compute.js';
import { until } from '../../rig/until.js';

/** Seconds: deadlines of Nova's for these tests. */
const CONNECT_S = 8;
/** Milliseconds a probe may take in this configuration. */
const PROBE_MS = 1500;

const ALICE = instanceOf(1);
const BOB = instanceOf(2);

let host: Host;
beforeAll(async () => {
  host = await Host.boot({ configure: (toml) => toml.replace(/probe_timeout = .*/, 'probe_timeout = "1500ms"') });
});
afterAll(() => host.shutDown());

const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;
const pathOf = (url: string, disk: string): string => join(host.quobyteBase, leafOfUrl(url), disk);
const fine = { error: null, text: '' };

describe.each([
  ['26', 'eventlet'],
  ['26', 'threads'],
  ['34', 'threads'],
  ['34', 'eventlet'],
] as const)('Nova %s with %s', (version, manner) => {
  const why = whyNoNova(version);
  describe.skipIf(why !== null)(why === null ? 'here' : `(skipped: ${why})`, () => {
    let nova: Compute;
    const volume = (name: string): Promise<string> => host.volume(`${name}-${version}-${manner}`);
    const name = (url: string): string => url.split('/').at(-1) ?? '';
    beforeAll(async () => {
      nova = await Compute.start({
        version,
        manner,
        driver: 'fairlead',
        fairlead: { socket: host.socket, connect_timeout: CONNECT_S, disconnect_timeout: CONNECT_S },
        lockPath: join(host.dir, 'locks'),
      });
    });
    afterAll(() => nova[Symbol.asyncDispose]());

    it('looks up Fairlead’s driver, in the way of waiting that was asked for', () => {
      expect(nova.facts).toEqual({ driver: 'fairlead_nova.driver', green: manner === 'eventlet' });
    });

    it('connects a cold volume and a warm one, describes the disk, and lets go', async () => {
      const url = await volume('warm');
      const record = recordOf(url, 'disk-1');
      expect(await nova.one('connect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toBe(1);
      writeFileSync(pathOf(url, 'disk-1'), 'guest');
      // A hard reboot connects what is connected.
      expect(await nova.one('connect', record, ALICE)).toMatchObject(fine);
      const { result } = await nova.one('describe', record, ALICE);
      expect(result).toContain(`<source file="${pathOf(url, 'disk-1')}"/>`);
      expect(result).toContain('<driver name="qemu" type="raw" cache="none" io="native"/>');
      expect(readFileSync(pathOf(url, 'disk-1'), 'utf8')).toBe('guest');
      expect(await nova.one('extend', record, ALICE, { bytes: 2 ** 30 })).toMatchObject({ ...fine, result: 2 ** 30 });
      expect(await nova.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toBe(0);
      expect(await nova.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(await nova.one('extend', record, ALICE, { bytes: 2 ** 30 })).toMatchObject({
        error: 'VolumeExtendFailed',
      });
    });

    it('keeps a volume until its last instance goes', async () => {
      const url = await volume('shared');
      const [one, two] = [recordOf(url, 'disk-1'), recordOf(url, 'disk-2')];
      await nova.one('connect', one, ALICE);
      await nova.one('connect', two, BOB);
      writeFileSync(pathOf(url, 'disk-2'), 'bob');
      expect(await nova.one('disconnect', one, ALICE)).toMatchObject(fine);
      expect(readFileSync(pathOf(url, 'disk-2'), 'utf8')).toBe('bob');
      expect(await nova.one('disconnect', two, BOB, { force: true })).toMatchObject(fine);
      expect(mountsAt(url)).toBe(0);
    });

    it('disconnects each instance of a multi-attached volume, not only the last', async () => {
      const url = await volume('multi');
      const record = recordOf(url, 'disk-1', { multiattach: true });
      await nova.one('connect', record, ALICE);
      await nova.one('connect', record, BOB);
      expect((await nova.one('describe', record, BOB)).result).toContain('<shareable/>');
      await nova.one('disconnect', record, ALICE);
      expect(mountsAt(url)).toBe(1);
      await nova.one('disconnect', record, BOB);
      expect(mountsAt(url)).toBe(0);
    });

    it('disconnects a disk that has another name since Cinder and Nova made a snapshot of it', async () => {
      const url = await volume('snapshot');
      const before = `volume-${instanceOf(7)}`;
      await nova.one('connect', recordOf(url, before), ALICE);
      const after = recordOf(url, `${before}.${instanceOf(8)}`);
      expect((await nova.one('extend', after, ALICE, { bytes: 2 ** 30 })).error).toBe(null);
      expect(await nova.one('disconnect', after, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toBe(0);
    });

    it('recovers a volume whose server died', async () => {
      const url = await volume('dead');
      const record = recordOf(url, 'disk-1');
      await nova.one('connect', record, ALICE);
      writeFileSync(pathOf(url, 'disk-1'), 'still here');
      const open = openSync(pathOf(url, 'disk-1'), 'r');
      await host.sandbox('fault', name(url), 'server-dies');
      expect(await nova.one('connect', record, ALICE)).toMatchObject(fine);
      expect(readFileSync(pathOf(url, 'disk-1'), 'utf8')).toBe('still here');
      closeOnDead(open);
      await host.sandbox('fault', name(url), 'server-dies');
      expect(await nova.one('disconnect', record, ALICE)).toMatchObject(fine);
      expect(mountsAt(url)).toBe(0);
    });

    it('names a hung volume in time, disconnects it, and serves others meanwhile', async () => {
      const url = await volume('hung');
      const other = await volume('lively');
      const record = recordOf(url, 'disk-1');
      await nova.one('connect', record, ALICE);
      await host.sandbox('fault', name(url), 'hang-unanswered');
      const [hung, lively] = await nova.call([
        { verb: 'connect', record, instance: BOB },
        { verb: 'connect', record: recordOf(other, 'disk-1'), instance: BOB },
      ]);
      expect(hung).toMatchObject({ error: 'StaleVolumeMount' });
      expect(hung?.text).toMatch(
        /\[Fairlead: hung, [0-9a-f]{32}; on the compute host see: fairlead ls, fairlead doctor\]/,
      );
      expect(hung?.text).not.toContain(name(url));
      expect(hung?.ms).toBeLessThan(CONNECT_S * 1000 + 1000);
      expect(lively).toMatchObject(fine);
      expect(lively?.ms).toBeLessThan(PROBE_MS);
      const gone = await nova.one('disconnect', record, ALICE);
      expect(gone).toMatchObject(fine);
      await host.sandbox('heal', name(url));
      await until('the mount is gone', () => mountsAt(url) === 0, 45_000);
      await nova.one('disconnect', recordOf(other, 'disk-1'), BOB);
    });

    it('waits for a volume that is healed before the time is up', async () => {
      const url = await volume('healed');
      const record = recordOf(url, 'disk-1');
      await nova.one('connect', record, ALICE);
      await host.sandbox('fault', name(url), 'hang-unanswered');
      const waiting = nova.one('connect', record, ALICE);
      await until(
        'the volume is called hung',
        async () => (await host.ask('validate', url)).body['verdict'] === 'hung',
      );
      await host.sandbox('heal', name(url));
      expect(await waiting).toMatchObject(fine);
      await nova.one('disconnect', record, ALICE);
    });

    it('survives the SIGKILL of the agent during its calls', async () => {
      const urls = await Promise.all(Array.from({ length: 8 }, (_, index) => volume(`killed-${index}`)));
      for (const url of urls) await host.sandbox('fault', name(url), 'slow-mount', '700');
      const jobs = urls.map((url) => ({ verb: 'connect', record: recordOf(url, 'disk-1'), instance: ALICE }) as const);
      const waiting = nova.call(jobs);
      await until('the calls are being worked on', async () => {
        const { body } = await host.ask('ls');
        return (body['mounts'] as { readonly state: string }[]).some(({ state }) => state === 'mounting');
      });
      await host.kill('agent');
      expect(await waiting).toMatchObject(urls.map(() => fine));
      expect(urls.map(mountsAt)).toEqual(urls.map(() => 1));
      const ends = await nova.call(jobs.map((job) => ({ ...job, verb: 'disconnect' })));
      expect(ends).toMatchObject(urls.map(() => fine));
      expect(urls.map(mountsAt)).toEqual(urls.map(() => 0));
    });

    it('connects 32 instances at once, on volumes of their own and on one', async () => {
      const shared = await volume('crowd');
      const own = await Promise.all(Array.from({ length: 16 }, (_, index) => volume(`crowd-${index}`)));
      const urls = [...own, ...own.map(() => shared)];
      const jobs = urls.map(
        (url, index) =>
          ({ verb: 'connect', record: recordOf(url, `disk-${index}`), instance: instanceOf(index) }) as const,
      );
      const failed = (results: readonly NovaResult[]): readonly NovaResult[] =>
        results.filter(({ error }) => error !== null);
      expect(failed(await nova.call(jobs))).toEqual([]);
      expect([...own, shared].map(mountsAt)).toEqual([...own, shared].map(() => 1));
      expect(failed(await nova.call(jobs.map((job) => ({ ...job, verb: 'disconnect' }))))).toEqual([]);
      expect([...own, shared].map(mountsAt)).toEqual([...own, shared].map(() => 0));
    });

    it('tells what stands in the way, and what to do, in exceptions of Nova’s own', async () => {
      const url = await volume('refused');
      expect(await nova.one('connect', recordOf('quobyte://-o,suid/x', 'disk-1'), ALICE)).toMatchObject({
        error: 'InvalidVolume',
        text: expect.stringContaining('connectionInfo.data.export') as unknown,
      });
      expect(await nova.one('connect', recordOf(url, '../../etc/shadow'), ALICE)).toMatchObject({
        error: 'InvalidVolume',
      });
      await host.sandbox('fault', name(url), 'helper-fails', '7', 'no such registry');
      const failed = await nova.one('connect', recordOf(url, 'disk-1'), ALICE);
      expect(failed).toMatchObject({ error: 'InternalError' });
      expect(failed.text).not.toContain('no such registry');
      await until('the log has what the helper said', () => nova.log().includes('no such registry'));
      expect(nova.log()).not.toContain(name(url));
      expect(existsSync(pathOf(url, 'disk-1'))).toBe(false);
      await host.sandbox('heal', name(url));
    });

    it('waits out a restart of Fairlead, and says what is missing when none comes', async () => {
      const url = await volume('restart');
      const record = recordOf(url, 'disk-1');
      await nova.one('connect', record, ALICE);
      await host.down();
      const waiting = nova.one('connect', record, BOB);
      await host.up();
      expect(await waiting).toMatchObject(fine);
      await host.down();
      const lost = await nova.call([
        { verb: 'disconnect', record, instance: BOB },
        { verb: 'disconnect', record, instance: ALICE, force: true },
      ]);
      expect(lost).toMatchObject([
        { error: 'InternalError', text: expect.stringContaining('fairlead up') as unknown },
        fine,
      ]);
      expect(mountsAt(url)).toBe(1);
      await host.up();
      await nova.call([ALICE, BOB].map((instance) => ({ verb: 'disconnect', record, instance })));
      expect(mountsAt(url)).toBe(0);
    });
  });
});
