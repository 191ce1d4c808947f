// Live migration as Nova does it, between two hosts on this machine: two agents, each with a mount namespace, a ledger and a base of
// its own, and one cluster. The destination connects while the source still has the volume; then the source lets go.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl } from '../../rig/host.js';
import { Compute, instanceOf, recordOf, whyNoNova, type NovaVersion } from '../../rig/nova/compute.js';
import { FAIRLEAD, launch, run, type Running } from '../../rig/programs.js';

const INSTANCE = instanceOf(1);
const fine = { error: null, text: '' };

let source: Host;
/** The other host's Fairlead, in a mount namespace of its own. */
let destination: Running;
let config: string;
let base: string;
let socket: string;

beforeAll(async () => {
  source = await Host.boot();
  const other = join(source.dir, 'destination');
  for (const directory of [other, join(other, 'mnt')]) mkdirSync(directory, { mode: 0o755 });
  base = join(other, 'mnt/quobyte');
  socket = join(other, 'run/agent.sock');
  config = join(source.dir, 'destination.toml');
  writeFileSync(config, readFileSync(source.configFile, 'utf8').replaceAll('/fairlead/', '/destination/'));
  destination = launch('unshare', ['--mount', '--propagation', 'private', FAIRLEAD, 'up', '--config', config]);
  await source.ready();
  await run('/bin/sh', ['-c', `for i in $(seq 200); do [ -S ${socket} ] && exit 0; sleep 0.1; done; exit 1`]);
});
afterAll(async () => {
  destination.child.kill('SIGTERM');
  await destination.ended;
  await source.shutDown();
});

const atSource = (url: string): number =>
  source.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;
/** What the destination sees, in its own namespace. */
const atDestination = (url: string): number =>
  readFileSync(`/proc/${String(destination.child.pid)}/mountinfo`, 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${join(base, leafOfUrl(url))} `)).length;
const readAtDestination = async (url: string, disk: string): Promise<string> =>
  (
    await run('nsenter', [
      '--target',
      String(destination.child.pid),
      '--mount',
      'cat',
      join(base, leafOfUrl(url), disk),
    ])
  ).stdout;

function compute(version: NovaVersion, at: string): Promise<Compute> {
  const fairlead = { socket: at, connect_timeout: 15, disconnect_timeout: 15 };
  return Compute.start({
    version,
    manner: 'threads',
    driver: 'fairlead',
    fairlead,
    lockPath: join(source.dir, 'locks'),
  });
}

describe.each(['26', '34'] as const)('with Nova %s', (version) => {
  const why = whyNoNova(version);
  describe.skipIf(why !== null)(why === null ? 'here' : `(skipped: ${why})`, () => {
    let here: Compute;
    let there: Compute;
    beforeAll(async () => {
      [here, there] = await Promise.all([compute(version, source.socket), compute(version, socket)]);
    });
    afterAll(() => Promise.all([here, there].map((one) => one[Symbol.asyncDispose]())));

    it('the instance’s disk is readable on both hosts until the source has let go, and then on the destination', async () => {
      const url = await source.volume(`migrating-${version}`);
      const record = recordOf(url, 'disk-1');
      expect(await here.one('connect', record, INSTANCE)).toMatchObject(fine);
      writeFileSync(join(source.quobyteBase, leafOfUrl(url), 'disk-1'), 'moves with its guest');
      // pre_live_migration at the destination
      expect(await there.one('connect', record, INSTANCE)).toMatchObject(fine);
      expect([atSource(url), atDestination(url)]).toEqual([1, 1]);
      expect(await readAtDestination(url, 'disk-1')).toBe('moves with its guest');
      expect((await there.one('describe', record, INSTANCE)).result).toContain(join(base, leafOfUrl(url), 'disk-1'));
      // post_live_migration at the source
      expect(await here.one('disconnect', record, INSTANCE)).toMatchObject(fine);
      expect([atSource(url), atDestination(url)]).toEqual([0, 1]);
      expect(await readAtDestination(url, 'disk-1')).toBe('moves with its guest');
      expect(await there.one('disconnect', record, INSTANCE)).toMatchObject(fine);
      expect(atDestination(url)).toBe(0);
    });

    it('a migration that is rolled back leaves the source as it was', async () => {
      const url = await source.volume(`staying-${version}`);
      const record = recordOf(url, 'disk-1');
      await here.one('connect', record, INSTANCE);
      writeFileSync(join(source.quobyteBase, leafOfUrl(url), 'disk-1'), 'stays');
      await there.one('connect', record, INSTANCE);
      // rollback_live_migration_at_destination
      expect(await there.one('disconnect', record, INSTANCE, { force: true })).toMatchObject(fine);
      expect([atSource(url), atDestination(url)]).toEqual([1, 0]);
      expect(readFileSync(join(source.quobyteBase, leafOfUrl(url), 'disk-1'), 'utf8')).toBe('stays');
      await here.one('disconnect', record, INSTANCE);
    });

    it('a destination that cannot connect tells the source why, in an exception that Nova carries over', async () => {
      const url = await source.volume(`refusing-${version}`);
      const leaf = join(base, leafOfUrl(url));
      mkdirSync(leaf, { mode: 0o700 });
      writeFileSync(join(leaf, 'somebody-elses'), '');
      expect(await there.one('connect', recordOf(url, 'disk-1'), INSTANCE)).toMatchObject({
        error: 'InvalidVolume',
        text: expect.stringContaining(`foreign, ${leafOfUrl(url)}`) as unknown,
      });
      expect(atDestination(url)).toBe(0);
    });
  });
});
