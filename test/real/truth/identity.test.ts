// Local volumes whose directory is renamed, removed, replaced or covered while they are mounted. A rename is no mount event. What
// is called healthy is the directory that was asked for, as it is now; and what was answered `released` is not mounted.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

interface Pool {
  readonly volume: VolumeInUse;
  /** The directory that the volume is. */
  readonly directory: string;
  /** The directory above it. */
  readonly parent: string;
}

/** A local volume with a file in it, connected by Alice. */
async function connected(): Promise<Pool> {
  const name = `pool-${count++}`;
  const parent = join(host.localRoot, name);
  const volume = new VolumeInUse(host, host.localVolume(`${name}/a`));
  const directory = join(parent, 'a');
  writeFileSync(join(directory, 'file'), 'alice’s');
  expect(await volume.connect(ALICE)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
  return { volume, directory, parent };
}

/** Whoever keeps a mount table reads it anew after this. */
async function anotherMountComesAndGoes(): Promise<void> {
  const place = join(host.dir, 'somewhere');
  mkdirSync(place, { recursive: true });
  expect((await run('/bin/mount', ['-t', 'tmpfs', 'other', place])).status).toBe(0);
  expect((await run('/bin/umount', [place])).status).toBe(0);
}

type Change = (pool: Pool) => unknown;

/** Changes after which there is a directory of the name, but not the one that is mounted. */
const REPLACED: readonly (readonly [string, Change])[] = [
  [
    'renamed, and a new one made in its place',
    ({ directory, parent }) => {
      renameSync(directory, join(parent, 'b'));
      mkdirSync(directory);
    },
  ],
  [
    'removed, and a new one made in its place',
    ({ directory }) => {
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
    },
  ],
  [
    'renamed with the directory above it, and a new tree made in its place',
    ({ directory, parent }) => {
      renameSync(parent, `${parent}-before`);
      mkdirSync(directory, { recursive: true });
    },
  ],
  [
    'exchanged for another one',
    ({ directory, parent }) => {
      mkdirSync(join(parent, 'other'));
      renameSync(directory, join(parent, 'b'));
      renameSync(join(parent, 'other'), directory);
    },
  ],
];

/** Changes after which there is none. */
const GONE: readonly (readonly [string, Change])[] = [
  ['removed', ({ directory }) => rmSync(directory, { recursive: true })],
  ['renamed', ({ directory, parent }) => renameSync(directory, join(parent, 'b'))],
  ['renamed with the directory above it', ({ parent }) => renameSync(parent, `${parent}-before`)],
  ['covered by another mount', ({ directory }) => run('/bin/mount', ['-t', 'tmpfs', 'stranger', directory])],
];

describe('a local volume whose directory is', () => {
  it.each(REPLACED)('%s: the next consumer never gets the old one', async (_, change) => {
    const pool = await connected();
    const { volume } = pool;
    await change(pool);

    const refused = await volume.connect(BOB);
    expect(refused).toMatchObject({ status: 8, error: { code: 'unhealthy', leaf: volume.leaf } });
    expect(await volume.validate()).toMatchObject({
      verdict: 'stale',
      reason: expect.stringMatching(/renamed|replaced/) as string,
    });

    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(volume.mounts()).toBe(0);
    expect(existsSync(volume.mountpoint)).toBe(false);

    const { body } = await volume.connect(BOB);
    expect(body).toMatchObject({ verdict: 'healthy' });
    expect(readdirSync(String(body['path']))).toEqual([]);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(volume.mounts()).toBe(0);
  });

  it.each([...REPLACED, ...GONE])('%s: nothing is mounted when the last disconnect has said so', async (_, change) => {
    const pool = await connected();
    const { volume, directory } = pool;
    await change(pool);
    await anotherMountComesAndGoes();
    try {
      const { body } = await volume.disconnect(ALICE);
      expect([volume.mounts(), body['mounted'], body['outcome']]).toEqual([0, false, 'released']);
    } finally {
      await run('/bin/umount', ['-q', directory]);
    }
  });

  it.each(GONE)('%s is refused to the next consumer, and released by the last', async (_, change) => {
    const pool = await connected();
    const { volume, directory } = pool;
    await change(pool);
    try {
      expect(await volume.connect(BOB)).toMatchObject({ status: 8, error: { code: 'unhealthy', leaf: volume.leaf } });
      expect((await volume.validate()).verdict).toBe('stale');
      expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
      expect(volume.mounts()).toBe(0);
      expect(await volume.listed()).toBeUndefined();
    } finally {
      await run('/bin/umount', ['-q', directory]);
    }
  });

  it('renamed stays with who has it, and with open files: it is busy, and released when they are closed', async () => {
    const pool = await connected();
    const { volume, directory, parent } = pool;
    renameSync(directory, join(parent, 'b'));
    mkdirSync(directory);
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    const { body } = await volume.disconnect(ALICE);
    expect([body['outcome'], body['mounted'], volume.mounts()]).toEqual(['busy', true, 1]);
    expect(await volume.connect(BOB)).toMatchObject({ error: { code: 'unhealthy' } });
    expect(volume.mounts()).toBe(1);
    expect(await user.read('file')).toBe('alice’s');
    await user.close('file');
    await until('it is released by itself', () => volume.mounts() === 0, 60_000);
    await until('and forgotten', async () => (await volume.listed()) === undefined);
    expect((await volume.connect(BOB)).status).toBe(0);
    expect(readdirSync(volume.mountpoint)).toEqual([]);
    await volume.disconnect(BOB);
  });

  it('renamed and renamed back is healthy again', async () => {
    const { volume, directory, parent } = await connected();
    renameSync(directory, join(parent, 'b'));
    expect((await volume.validate()).verdict).toBe('stale');
    renameSync(join(parent, 'b'), directory);
    expect((await volume.validate()).verdict).toBe('healthy');
    expect(await volume.connect(BOB)).toMatchObject({ status: 0 });
    expect((await volume.disconnect(ALICE)).body['outcome']).toBe('still-used');
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(volume.mounts()).toBe(0);
  });
});
