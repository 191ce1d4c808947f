// The life of a shared mount, on real FUSE mounts: connect, share, disconnect, repeat, adopt, refuse, recover.

import {
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  statSync,
  writeFileSync,
  symlinkSync,
  readdirSync,
  existsSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeOnDead, Host, leafOfUrl, type Answer, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
beforeAll(async () => {
  host = await Host.boot(WITHOUT_LIBVIRT);
});
afterAll(() => host.shutDown());

const connect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', consumer, ...more);
const disconnect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer, ...more);
const mountpointOf = (url: string): string => join(host.quobyteBase, leafOfUrl(url));
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint === mountpointOf(url)).length;

interface Listed {
  readonly leaf: string;
  readonly url: string | null;
  readonly state: string;
  readonly verdict: string | null;
  readonly verdictAge: number | null;
  readonly hold: string | null;
  readonly attachments: readonly { consumer: string; disk: string | null; readOnly: boolean }[];
  readonly needsRestart: readonly { pid: number }[];
}

async function listed(url: string): Promise<Listed | undefined> {
  const { body } = await host.ask('ls');
  return (body['mounts'] as readonly Listed[]).find(({ leaf }) => leaf === leafOfUrl(url));
}

describe('a shared volume', () => {
  it('is mounted once for all its consumers and unmounted with the last', async () => {
    const url = await host.volume('shared');
    const first = await connect(url, ALICE);
    expect(first).toMatchObject({
      status: 0,
      body: {
        leaf: leafOfUrl(url),
        mountpoint: mountpointOf(url),
        path: mountpointOf(url),
        verdict: 'healthy',
        changed: true,
      },
    });
    expect(await connect(url, BOB)).toMatchObject({ status: 0, body: { changed: true } });
    expect(mountsAt(url)).toBe(1);
    expect(await disconnect(url, ALICE)).toMatchObject({
      status: 0,
      body: { outcome: 'still-used', mounted: true, usedBy: [BOB] },
    });
    expect(mountsAt(url)).toBe(1);
    expect(await disconnect(url, BOB)).toMatchObject({
      status: 0,
      body: { outcome: 'released', mounted: false, usedBy: [] },
    });
    expect(mountsAt(url)).toBe(0);
    expect(existsSync(mountpointOf(url))).toBe(false);
  });

  it('is changed once however often the same connect and disconnect come', async () => {
    const url = await host.volume('once');
    const first = await connect(url, ALICE);
    const second = await connect(url, ALICE);
    expect(second).toMatchObject({ status: 0, body: { changed: false, attachment: first.body['attachment'] } });
    expect((await listed(url))?.attachments).toHaveLength(1);
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
    expect(await disconnect(url, ALICE)).toMatchObject({
      status: 0,
      body: { outcome: 'not-connected', mounted: false },
    });
  });

  it('refuses the same attachment with other arguments as a conflict, and changes nothing', async () => {
    const url = await host.volume('argued');
    await connect(url, ALICE);
    expect(await connect(url, ALICE, '--read-only')).toMatchObject({
      status: 5,
      error: { code: 'conflict', leaf: leafOfUrl(url) },
    });
    expect((await listed(url))?.attachments).toMatchObject([{ consumer: ALICE, readOnly: false }]);
    await disconnect(url, ALICE);
  });

  it('counts a Nova instance and its libvirt domain as one user', async () => {
    const url = await host.volume('instance');
    const uuid = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
    await connect(url, `nova:${uuid}`);
    expect(await connect(url, `vm:${uuid}`)).toMatchObject({ status: 0, body: { changed: false } });
    expect((await disconnect(url, `vm:${uuid}`)).body['outcome']).toBe('released');
  });

  it('hands out hardened mounts: a planted link is not followed, a program not executed', async () => {
    const url = await host.volume('hardened');
    await connect(url, ALICE);
    const options = host
      .mounts()
      .find(({ mountPoint }) => mountPoint === mountpointOf(url))
      ?.options.split(',');
    expect(options).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'nosymfollow']));
    symlinkSync('/etc/passwd', join(mountpointOf(url), 'link'));
    expect(() => readFileSync(join(mountpointOf(url), 'link'))).toThrow(/ELOOP/);
    await disconnect(url, ALICE);
  });

  it('keeps two spellings of one volume apart, each at its own leaf', async () => {
    const url = await host.volume('spelt', 'reg1:7861,reg2:7861');
    const other = 'quobyte://reg2:7861,reg1:7861/spelt';
    await connect(url, ALICE);
    await connect(other, ALICE);
    expect([mountsAt(url), mountsAt(other)]).toEqual([1, 1]);
    await disconnect(url, ALICE);
    expect([mountsAt(url), mountsAt(other)]).toEqual([0, 1]);
    await disconnect(other, ALICE);
  });
});

describe('a disk', () => {
  it('written through one attachment is read through the other', async () => {
    const url = await host.volume('disks');
    const { body } = await connect(url, ALICE, '--disk', 'disk-1');
    expect(body).toMatchObject({ path: join(mountpointOf(url), 'disk-1'), disk: 'absent' });
    writeFileSync(String(body['path']), 'written by alice');
    const other = await connect(url, BOB, '--disk', 'disk-1');
    expect(other.body).toMatchObject({ disk: 'present' });
    expect(readFileSync(String(other.body['path']), 'utf8')).toBe('written by alice');
    expect((await disconnect(url, ALICE, '--disk', 'disk-1')).body['outcome']).toBe('still-used');
    expect((await disconnect(url, BOB, '--disk', 'disk-1')).body['outcome']).toBe('released');
  });

  it.each([
    ['a symbolic link', (at: string) => symlinkSync('/etc/shadow', at)],
    ['a directory', (at: string) => mkdirSync(at)],
    ['a FIFO', (at: string) => void run('/usr/bin/mkfifo', [at])],
  ])('that is %s is refused, and nothing stays mounted for it', async (_, make) => {
    const url = await host.volume(`odd-${Math.random().toString(36).slice(2)}`);
    const at = join(host.dir, 'volumes', url.split('/').at(-1) ?? '', 'volume-1');
    make(at);
    await until('the thing is there', () => existsSync(at) || readdirSync(join(at, '..')).includes('volume-1'));
    expect(await connect(url, ALICE, '--disk', 'volume-1')).toMatchObject({
      status: 7,
      error: { code: 'foreign', field: 'disk' },
    });
    expect(mountsAt(url)).toBe(0);
    expect(await listed(url)).toBeUndefined();
  });

  it.each(['../../etc/shadow', '/etc/shadow', 'a/b', '.', '..', '', '-o', 'x'.repeat(256), 'a\nb'])(
    'named %j is refused before anything happens',
    async (name) => {
      const url = await host.volume('names');
      const { status, error } = await host.ask('connect', url, `--disk=${name}`, '--consumer', ALICE);
      expect([status, error?.code, error?.field]).toEqual([2, 'invalid-argument', 'disk']);
      expect(mountsAt(url)).toBe(0);
    },
  );
});

describe('a local volume', () => {
  it('is bound by handle, shared, and released', async () => {
    const url = host.localVolume('pool');
    const { body } = await connect(url, ALICE, '--disk', 'd');
    writeFileSync(String(body['path']), 'local');
    expect(readFileSync(join(host.localRoot, 'pool/d'), 'utf8')).toBe('local');
    await connect(url, BOB);
    const [mount, ...others] = host.mounts(host.localBase);
    expect(others).toEqual([]);
    expect(mount?.options.split(',')).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'nosymfollow']));
    expect((await disconnect(url, ALICE, '--disk', 'd')).body['outcome']).toBe('still-used');
    expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
    expect(host.mounts(host.localBase)).toEqual([]);
    expect(readFileSync(join(host.localRoot, 'pool/d'), 'utf8')).toBe('local');
  });

  it('keeps to itself: a mount made inside it does not appear in its source', async () => {
    const url = host.localVolume('private');
    mkdirSync(join(host.localRoot, 'private/inner'));
    const { body } = await connect(url, ALICE);
    await run('/bin/mount', ['-t', 'tmpfs', 'none', join(String(body['path']), 'inner')]);
    expect(host.mounts(host.localRoot)).toEqual([]);
    await run('/bin/umount', [join(String(body['path']), 'inner')]);
    await disconnect(url, ALICE);
  });

  it.each(['../outside', 'link'])('that leads out of its root by %s is refused', async (name) => {
    mkdirSync(join(host.dir, 'outside'), { recursive: true });
    if (name === 'link' && !existsSync(join(host.localRoot, 'link')))
      symlinkSync(join(host.dir, 'outside'), join(host.localRoot, 'link'));
    const { status } = await host.ask('connect', `local://${host.localRoot}/${name}`, '--consumer', ALICE);
    expect(status).toBeGreaterThan(0);
    expect(host.mounts(host.localBase)).toEqual([]);
  });
});

describe('somebody else’s mount', () => {
  it('at the leaf is refused and left alone', async () => {
    const url = await host.volume('occupied');
    mkdirSync(mountpointOf(url));
    await run('/bin/mount', ['-t', 'tmpfs', 'stranger', mountpointOf(url)]);
    expect(await connect(url, ALICE)).toMatchObject({ status: 7, error: { code: 'foreign' } });
    expect((await host.ask('validate', url)).body['verdict']).toBe('foreign');
    expect(mountsAt(url)).toBe(1);
    await run('/bin/umount', [mountpointOf(url)]);
    expect((await connect(url, ALICE)).status).toBe(0);
    await disconnect(url, ALICE);
  });

  it('of the right volume is adopted, with a hold that keeps it after the last disconnect', async () => {
    const url = await host.volume('adopted');
    mkdirSync(mountpointOf(url), { mode: 0o700 });
    const mounted = await run(join(host.dir, 'bin/mount.quobyte'), [url.replace('quobyte://', ''), mountpointOf(url)]);
    expect(mounted.status).toBe(0);
    expect(await connect(url, ALICE)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(mountsAt(url)).toBe(1);
    expect(await listed(url)).toMatchObject({ hold: 'inherited' });
    expect(await disconnect(url, ALICE)).toMatchObject({
      body: { outcome: 'still-used', mounted: true, usedBy: ['hold:inherited'] },
    });
    expect(mountsAt(url)).toBe(1);
    expect((await host.ask('lift-hold', leafOfUrl(url))).status).toBe(0);
    await until('the mount is gone', () => mountsAt(url) === 0);
  });

  it('of another volume at our leaf is not taken for ours', async () => {
    const url = await host.volume('right');
    await host.volume('wrong');
    mkdirSync(mountpointOf(url), { mode: 0o700 });
    await run(join(host.dir, 'bin/mount.quobyte'), ['reg1:7861,reg2:7861/wrong', mountpointOf(url)]);
    expect(await connect(url, ALICE)).toMatchObject({ status: 7, error: { code: 'foreign' } });
    expect(mountsAt(url)).toBe(1);
    await run('/bin/umount', [mountpointOf(url)]);
  });

  it('taken away by somebody else is mounted again by the next connect', async () => {
    const url = await host.volume('vanished');
    await connect(url, ALICE);
    await run('/bin/umount', [mountpointOf(url)]);
    expect((await host.ask('validate', url)).body['verdict']).toBe('absent');
    expect((await listed(url))?.state).toBe('vanished');
    expect(await connect(url, ALICE)).toMatchObject({ status: 0, body: { changed: true } });
    expect(mountsAt(url)).toBe(1);
    await disconnect(url, ALICE);
  });
});

describe('a busy volume', () => {
  it('answers busy with the process that keeps it, and is released when that ends', async () => {
    const url = await host.volume('busy');
    const { body } = await connect(url, ALICE);
    writeFileSync(join(String(body['path']), 'open'), '');
    const descriptor = openSync(join(String(body['path']), 'open'), 'r');
    try {
      const answer = await disconnect(url, ALICE);
      expect(answer).toMatchObject({ status: 0, body: { outcome: 'busy', mounted: true } });
      expect(answer.body['holders']).toMatchObject([{ pid: process.pid, by: 'descriptor' }]);
      expect(await listed(url)).toMatchObject({ state: 'releasing', attachments: [] });
      expect(await disconnect(url, ALICE)).toMatchObject({ body: { outcome: 'busy' } });
    } finally {
      closeSync(descriptor);
    }
    await until('the mount is released by itself', () => mountsAt(url) === 0, 15_000);
    await until('and forgotten', async () => (await listed(url)) === undefined);
  });

  it('that is connected again while releasing stays', async () => {
    const url = await host.volume('wanted-again');
    const { body } = await connect(url, ALICE);
    const descriptor = openSync(String(body['path']), 'r');
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('busy');
    expect(await connect(url, BOB)).toMatchObject({ status: 0 });
    closeSync(descriptor);
    expect(await listed(url)).toMatchObject({ state: 'mounted', attachments: [{ consumer: BOB }] });
    expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
  });
});

describe('a dead volume', () => {
  it('is recovered on connect: attachments stay, who still holds the dead mount is named', async () => {
    const url = await host.volume('mortal');
    const { body } = await connect(url, ALICE);
    await connect(url, BOB);
    writeFileSync(join(String(body['path']), 'f'), 'x');
    const descriptor = openSync(join(String(body['path']), 'f'), 'r');
    await host.sandbox('fault', 'mortal', 'server-dies');
    await until('the mount is dead', async () => (await host.ask('validate', url)).body['verdict'] === 'stale');
    expect(await connect(url, ALICE)).toMatchObject({ status: 0, body: { changed: true, verdict: 'healthy' } });
    expect(mountsAt(url)).toBe(1);
    expect(readFileSync(join(String(body['path']), 'f'), 'utf8')).toBe('x');
    const now = await listed(url);
    expect(now?.attachments.map(({ consumer }) => consumer).sort()).toEqual([ALICE, BOB]);
    expect(now?.needsRestart).toMatchObject([{ pid: process.pid }]);
    closeOnDead(descriptor);
    await disconnect(url, ALICE);
    expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
  });

  it('is gone after the last disconnect', async () => {
    const url = await host.volume('buried');
    const { body } = await connect(url, ALICE);
    writeFileSync(join(String(body['path']), 'f'), 'x');
    const descriptor = openSync(join(String(body['path']), 'f'), 'r');
    await host.sandbox('fault', 'buried', 'server-dies');
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
    expect(mountsAt(url)).toBe(0);
    closeOnDead(descriptor);
  });
});

describe('validate', () => {
  it('says what is the case, with a reason', async () => {
    const url = await host.volume('examined');
    expect(await host.ask('validate', url)).toMatchObject({ status: 0, body: { verdict: 'absent' } });
    await connect(url, ALICE);
    expect(await host.ask('validate', url)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    for (const [errno, verdict] of [
      ['EIO', 'stale'],
      ['EACCES', 'denied'],
      ['ETIMEDOUT', 'stale'],
    ] as const) {
      await host.sandbox('fault', 'examined', 'errno', errno);
      const { body } = await host.ask('validate', url);
      expect([errno, body['verdict']]).toEqual([errno, verdict]);
      expect(String(body['reason']).length).toBeGreaterThan(10);
      await host.sandbox('heal', 'examined');
    }
    expect((await host.ask('validate', url)).body['verdict']).toBe('healthy');
    await disconnect(url, ALICE);
  });

  it('reports a read-only volume, which only a read-only connect takes', async () => {
    const url = await host.volume('museum');
    await host.sandbox('fault', 'museum', 'read-only');
    expect(await connect(url, ALICE)).toMatchObject({ status: 8, error: { code: 'unhealthy' } });
    expect(mountsAt(url)).toBe(0);
    expect(await connect(url, ALICE, '--read-only')).toMatchObject({ status: 0 });
    expect((await host.ask('validate', url)).body['verdict']).toBe('read-only');
    await disconnect(url, ALICE);
  });
});

describe('disk-config', () => {
  it('describes the disk as Nova does, and opens nothing', async () => {
    const url = 'quobyte://192.168.1.1/volume-00001';
    const { status, body } = await host.ask('disk-config', url, '--disk', 'volume-00001', '--xml');
    expect(status).toBe(0);
    expect(String(body['xml'])).toContain('c94ed34ada0acf45c1213beb1fc52ce6/volume-00001');
    expect(String(body['xml'])).toMatch(/cache=["']none["'].*io=["']native["']|io=["']native["'].*cache=["']none["']/);
    expect(
      statSync(host.quobyteBase).isDirectory() &&
        !existsSync(join(host.quobyteBase, 'c94ed34ada0acf45c1213beb1fc52ce6')),
    ).toBe(true);
  });
});
