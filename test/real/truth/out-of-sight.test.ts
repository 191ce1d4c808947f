// Mounts of ours that cannot be seen at their leaf for a while: another mount of the volume's own directory lies on them,
// the mount base is covered, or it has another name. What is not seen is not gone: no disconnect says `released` while the
// kernel has the mount, and it goes by itself when it can be reached again. And what is said of a leaf that has something
// else in its place.

import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { User } from '../../rig/user.js';
import { VolumeInUse } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
let count = 0;
beforeAll(async () => {
  host = await Host.boot();
});
afterAll(() => host.shutDown());

/** Runs one of mount's programs. */
async function does(program: 'mount' | 'umount', ...args: readonly string[]): Promise<void> {
  const { status, stderr } = await run(`/bin/${program}`, args);
  expect([status, stderr]).toEqual([0, '']);
}

/** Mounts at directories of the leaf's name, wherever those lie by now. */
function anywhere({ leaf }: VolumeInUse): number {
  return host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(`/${leaf}`)).length;
}

/** The volume goes by itself, now that nothing is in the way any more. */
async function goesByItself(volume: VolumeInUse): Promise<void> {
  await until('it is released by itself', () => anywhere(volume) === 0, 60_000);
  await until('and forgotten', async () => (await volume.listed()) === undefined, 20_000);
}

async function newVolume(backend: 'local' | 'quobyte'): Promise<VolumeInUse> {
  const name = `out-of-sight-${count++}`;
  return backend === 'local' ? new VolumeInUse(host, host.localVolume(name)) : VolumeInUse.served(host, name);
}

describe('a bind under a mount of the directory that has its name now', () => {
  let volume: VolumeInUse;
  let directory: string;

  beforeEach(async () => {
    volume = await newVolume('local');
    directory = volume.url.slice('local://'.length);
    writeFileSync(join(directory, 'file'), 'alice’s');
    expect((await volume.connect(ALICE)).status).toBe(0);
    renameSync(directory, `${directory}x`);
    mkdirSync(directory);
    await does('mount', '--bind', directory, volume.mountpoint);
    await volume.validate();
  });

  it('is ours when that mount has gone: busy while it is used, and released after', async () => {
    await does('umount', volume.mountpoint);
    await using user = await User.start();
    await user.open('file', volume.at('file'));
    const { body } = await volume.disconnect(ALICE);
    expect([body['outcome'], body['mounted'], anywhere(volume)]).toEqual(['busy', true, 1]);
    expect(await user.read('file')).toBe('alice’s');
    await user.close('file');
    await goesByItself(volume);
  });

  it('is ours for the next broker, too', async () => {
    await host.kill('broker');
    await volume.validate();
    await does('umount', volume.mountpoint);
    expect((await volume.validate()).verdict).toBe('stale');
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(anywhere(volume)).toBe(0);
  });

  it('goes with the last disconnect, together with what lies on it', async () => {
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(anywhere(volume)).toBe(0);
  });
});

interface Hiding {
  readonly hide: (base: string) => Promise<void>;
  readonly show: (base: string) => Promise<void>;
}

const HIDINGS: readonly (readonly [string, Hiding])[] = [
  [
    'covered',
    {
      hide: (base) => does('mount', '-t', 'tmpfs', '-o', 'mode=755', 'stranger', base),
      show: (base) => does('umount', base),
    },
  ],
  [
    'covered together with the directory above it',
    {
      hide: async (base) => {
        await does('mount', '-t', 'tmpfs', '-o', 'mode=755', 'stranger', dirname(base));
        mkdirSync(base, { mode: 0o755 });
      },
      show: (base) => does('umount', dirname(base)),
    },
  ],
  [
    'renamed, and a new one made in its place',
    {
      hide: (base) => {
        renameSync(base, `${base}-before`);
        mkdirSync(base, { mode: 0o755 });
        return Promise.resolve();
      },
      show: (base) => {
        rmdirSync(base);
        renameSync(`${base}-before`, base);
        return Promise.resolve();
      },
    },
  ],
  [
    'renamed',
    {
      hide: (base) => {
        renameSync(base, `${base}-before`);
        return Promise.resolve();
      },
      show: (base) => {
        renameSync(`${base}-before`, base);
        return Promise.resolve();
      },
    },
  ],
];

describe.each(['local', 'quobyte'] as const)('a %s volume whose mount base is', (backend) => {
  const baseOf = (): string => (backend === 'local' ? host.localBase : host.quobyteBase);

  it.each(HIDINGS)('%s is not released before it is seen again', async (_, { hide, show }) => {
    const volume = await newVolume(backend);
    expect((await volume.connect(ALICE)).status).toBe(0);
    await hide(baseOf());
    const { body } = await volume.disconnect(ALICE);
    const said = [body['outcome'], anywhere(volume)];
    const listed = await volume.listed();
    const { reason } = await volume.validate();
    await show(baseOf());
    expect(said).toEqual(['releasing', 1]);
    expect(listed).toMatchObject({ state: 'releasing', attachments: [] });
    expect(reason).toMatch(/not mounted at its leaf.*elsewhere/);
    await goesByItself(volume);
    expect((await volume.connect(BOB)).status).toBe(0);
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(anywhere(volume)).toBe(0);
  });

  it.each(HIDINGS)('%s while everything is started anew is not given up', async (_, { hide, show }) => {
    const volume = await newVolume(backend);
    expect((await volume.connect(ALICE)).status).toBe(0);
    await host.crash();
    await hide(baseOf());
    let said: unknown[];
    try {
      await host.up();
      const { body } = await volume.disconnect(ALICE);
      said = [body['outcome'], anywhere(volume)];
    } finally {
      await show(baseOf());
    }
    expect(said).toEqual(['releasing', 1]);
    await goesByItself(volume);
  });
});

it('a bind that was moved to another place is named by disconnect, and forgotten when it is gone', async () => {
  const volume = await newVolume('local');
  expect((await volume.connect(ALICE)).status).toBe(0);
  const elsewhere = join(host.dir, 'moved');
  mkdirSync(elsewhere);
  await does('mount', '--move', volume.mountpoint, elsewhere);
  const { body } = await volume.disconnect(ALICE);
  expect(body).toMatchObject({ outcome: 'releasing', mounted: false, holders: [{ by: 'mount', command: elsewhere }] });
  await does('umount', elsewhere);
  await until('it is forgotten', async () => (await volume.listed()) === undefined, 20_000);
});

it('a bind that somebody has taken away is gone, although its number is given to another mount', async () => {
  const volume = await newVolume('local');
  expect((await volume.connect(ALICE)).status).toBe(0);
  const others: string[] = [];
  await does('umount', volume.mountpoint);
  for (let number = 0; number < 8; number += 1) {
    const place = join(host.dir, `numbered-${number}`);
    mkdirSync(place);
    await does('mount', '--bind', host.localRoot, place);
    others.push(place);
  }
  expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
  for (const place of others) await does('umount', place);
});

describe.each(['local', 'quobyte'] as const)('validate of a %s volume says what stands at its leaf:', (backend) => {
  const PUT: readonly (readonly [string, (path: string) => void, RegExp])[] = [
    ['a file', (path) => writeFileSync(path, ''), /^A file lies where the leaf belongs\..*remove it/],
    ['a symbolic link', (path) => symlinkSync('/', path), /^A symbolic link lies where the leaf belongs\..*remove it/],
    [
      'a directory that is not empty',
      (path) => {
        mkdirSync(path);
        writeFileSync(join(path, 'file'), '');
      },
      /^The leaf is a directory with something in it\..*Empty or remove it/,
    ],
  ];

  it.each(PUT)('%s', async (_, put, words) => {
    const volume = await newVolume(backend);
    put(volume.mountpoint);
    try {
      expect(await volume.validate()).toMatchObject({
        verdict: 'foreign',
        reason: expect.stringMatching(words) as string,
      });
      expect(existsSync(volume.mountpoint)).toBe(true);
    } finally {
      rmSync(volume.mountpoint, { recursive: true });
    }
    expect(await volume.validate()).toMatchObject({ verdict: 'absent', reason: 'The volume is not mounted.' });
  });
});

describe('an attachment that names a disk', () => {
  it('is named to whoever asks without one', async () => {
    const volume = await newVolume('local');
    expect((await volume.connect(ALICE, '--disk', 'disk-1')).status).toBe(0);
    expect((await volume.connect(ALICE, '--disk', 'disk 2')).status).toBe(0);
    const { body } = await volume.disconnect(ALICE);
    expect(body).toMatchObject({ outcome: 'not-connected', mounted: true, disks: ['disk 2', 'disk-1'] });
    const told = await host.fairlead(['disconnect', volume.url, '--consumer', ALICE]);
    expect(told.stdout).toContain(`attached with a disk, which the request must name: --disk 'disk 2'\n`);
    expect(told.stdout).toContain('attached with a disk, which the request must name: --disk disk-1\n');
    expect((await volume.disconnect(BOB)).body).toMatchObject({ outcome: 'not-connected', disks: [] });
    for (const disk of ['disk-1', 'disk 2']) await volume.disconnect(ALICE, '--disk', disk);
    expect(anywhere(volume)).toBe(0);
  });

  it('or without is named to whoever asks with another', async () => {
    const volume = await newVolume('local');
    expect((await volume.connect(ALICE)).status).toBe(0);
    const told = await host.fairlead(['disconnect', volume.url, '--consumer', ALICE, '--disk', 'disk-1']);
    expect(told.stdout).toContain('attached without a disk: leave out --disk');
    expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released', mounted: false });
  });
});
