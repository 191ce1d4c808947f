// Leaves that are not what they should be, and somebody who changes them while we work. Whatever lies there: it is
// refused by its name, it is left as it was, and nothing is mounted anywhere but at a leaf.

import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../rig/client.js';
import { Host, leafOfUrl, mountTable, type Answer } from '../../rig/host.js';
import { STRANGER } from '../../rig/identity.js';
import { launch, run, type Running } from '../../rig/programs.js';
import { running } from '../../rig/processes.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';

let host: Host;
let count = 0;

const connect = (url: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', ALICE, ...more);
const disconnect = (url: string): Promise<Answer> => host.ask('disconnect', url, '--consumer', ALICE);
const at = (url: string): string => join(host.quobyteBase, leafOfUrl(url));
const mountsAt = (url: string): number => host.mounts().filter(({ mountPoint }) => mountPoint === at(url)).length;
const places = (): readonly string[] =>
  mountTable()
    .map(({ mountPoint }) => mountPoint)
    .sort();

/** A directory that must stay as it is, and the proof that it did. */
function victim(): { readonly path: string; readonly untouched: () => void } {
  const path = mkdtempSync(join(host.dir, 'victim-'));
  chmodSync(path, 0o755);
  writeFileSync(join(path, 'precious'), 'untouched');
  const before = statSync(path);
  return {
    path,
    untouched: () => {
      expect(readdirSync(path)).toEqual(['precious']);
      expect(readFileSync(join(path, 'precious'), 'utf8')).toBe('untouched');
      const { dev, ino, mode, uid, gid } = statSync(path);
      expect({ dev, ino, mode, uid, gid }).toEqual({
        dev: before.dev,
        ino: before.ino,
        mode: before.mode,
        uid: before.uid,
        gid: before.gid,
      });
    },
  };
}

describe('a leaf at which there lies', () => {
  beforeAll(async () => {
    host = await Host.boot();
  });
  afterAll(() => host.shutDown());

  it.each<readonly [string, (leaf: string, victimPath: string) => unknown]>([
    ['a link to a directory', (leaf, path) => symlinkSync(path, leaf)],
    ['a link to an empty directory', (leaf) => symlinkSync(mkdtempSync(join(host.dir, 'empty-')), leaf)],
    ['a link that leads nowhere', (leaf) => symlinkSync('/nonexistent/place', leaf)],
    ['a link to itself', (leaf) => symlinkSync(leaf, leaf)],
    ['a file', (leaf) => writeFileSync(leaf, 'somebody’s')],
    ['a FIFO', (leaf) => run('/usr/bin/mkfifo', [leaf])],
    [
      'a directory with a file in it',
      (leaf) => {
        mkdirSync(leaf);
        writeFileSync(join(leaf, 'file'), 'somebody’s');
      },
    ],
  ])('%s is refused, and left as it is', async (_, plant) => {
    const url = await host.volume(`planted-${count++}`);
    const prey = victim();
    await plant(at(url), prey.path);
    const look = (): unknown => {
      const { ino, mode, uid, nlink } = lstatSync(at(url));
      const link = lstatSync(at(url)).isSymbolicLink() ? readlinkSync(at(url)) : null;
      return { ino, mode, uid, nlink, link };
    };
    const [before, mounts] = [look(), places()];
    expect(await connect(url)).toMatchObject({ status: 7, error: { code: 'foreign', leaf: leafOfUrl(url) } });
    expect(await host.ask('validate', url)).toMatchObject({ body: { verdict: 'foreign' } });
    expect(await disconnect(url)).toMatchObject({ body: { outcome: 'not-connected', mounted: false } });
    expect(look()).toEqual(before);
    expect(places()).toEqual(mounts);
    prey.untouched();
    const { body } = await host.ask('doctor');
    expect(JSON.stringify(body)).toContain(leafOfUrl(url));
    expect(((await host.ask('ls')).body['mounts'] as { leaf: string }[]).map(({ leaf }) => leaf)).not.toContain(
      leafOfUrl(url),
    );
    rmSync(at(url), { recursive: true });
    expect(await connect(url)).toMatchObject({ status: 0 });
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('somebody else’s mount over ours is left alone, and ours goes when theirs has gone', async () => {
    const url = await host.volume('covered');
    await connect(url);
    await run('/bin/mount', ['-t', 'tmpfs', 'stranger', at(url)]);
    writeFileSync(join(at(url), 'theirs'), 'x');
    expect(await connect(url)).toMatchObject({ status: 7, error: { code: 'foreign' } });
    expect(await disconnect(url)).toMatchObject({ status: 0, body: { outcome: 'busy', mounted: true } });
    expect(readFileSync(join(at(url), 'theirs'), 'utf8')).toBe('x');
    expect(mountsAt(url)).toBe(2);
    await run('/bin/umount', [at(url)]);
    await until('ours has gone too', () => mountsAt(url) === 0, 15_000);
  });

  it('nothing is made 0700 and root’s before anything is mounted on it, whatever the umask', async () => {
    await host.down();
    const umask = process.umask(0);
    try {
      await host.up();
    } finally {
      process.umask(umask);
    }
    const url = await host.volume('modest');
    await host.sandbox('fault', 'modest', 'slow-mount', '1500');
    const connecting = connect(url);
    const made = await until('the leaf is made', () => lstatSync(at(url), { throwIfNoEntry: false }));
    expect(made.isDirectory()).toBe(true);
    expect([made.mode & 0o7777, made.uid, mountsAt(url)]).toEqual([0o700, 0, 0]);
    expect((await connecting).status).toBe(0);
    await disconnect(url);
    const modes = (name: string): number => lstatSync(join(host.dir, 'fairlead/run', name)).mode & 0o777;
    expect(['agent.sock', 'broker.sock', 'agent.lock', 'broker.lock'].map(modes)).toEqual([0o666, 0o660, 0o600, 0o600]);
    const ledger = join(host.dir, 'fairlead/state/ledger');
    expect(lstatSync(ledger).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(ledger)) {
      expect([name, lstatSync(join(ledger, name)).mode & 0o077]).toEqual([name, 0]);
    }
  });
});

describe('in a base of a trusted owner, who swaps the leaf for a link while we work', () => {
  /** Runs as the owner, for as long as it is let: the leaf away, a link to the victim in its place, and back. */
  const SWAP = `
    const { renameSync, symlinkSync, unlinkSync } = require('node:fs');
    const [leaf, target] = process.argv.slice(1);
    const dare = (work) => { try { work(); } catch (error) { if (error.code === undefined) throw error; } };
    console.log('swapping');
    for (;;) {
      dare(() => renameSync(leaf, leaf + '.away'));
      dare(() => symlinkSync(target, leaf));
      for (const end = performance.now() + Math.random() * 4; performance.now() < end;);
      dare(() => unlinkSync(leaf));
      dare(() => renameSync(leaf + '.away', leaf));
      for (const end = performance.now() + Math.random() * 4; performance.now() < end;);
    }`;
  let swapper: Running | null = null;

  beforeAll(async () => {
    host = await Host.prepare({
      configure: (toml) =>
        `trusted_base_owners = [${STRANGER.uid}]\n${toml.replace(/mount_timeout = .*/, 'mount_timeout = "5s"')}`,
    });
    mkdirSync(host.quobyteBase);
    chmodSync(host.quobyteBase, 0o711);
    chownSync(host.quobyteBase, STRANGER.uid, STRANGER.gid);
    await host.up();
  });
  afterEach(async () => {
    swapper?.child.kill('SIGKILL');
    await swapper?.ended;
    swapper = null;
  });
  afterAll(() => host.shutDown());

  it('a mount that landed on the victim is found out and undone', async () => {
    const url = await host.volume('swapped');
    const prey = victim();
    await host.sandbox('fault', 'swapped', 'slow-mount', '700');
    const mounts = places();
    const connecting = connect(url);
    await until('the helper is at work', () => running(join(host.dir, 'bin/mount.quobyte')).length > 0);
    renameSync(at(url), `${at(url)}.away`);
    symlinkSync(prey.path, at(url));
    const answer = await connecting;
    expect(answer).toMatchObject({ status: 4, error: { code: 'permission-denied', leaf: leafOfUrl(url) } });
    expect(places()).toEqual(mounts);
    prey.untouched();
    rmSync(at(url));
    rmSync(`${at(url)}.away`, { recursive: true });
    await host.sandbox('heal', 'swapped');
    expect((await connect(url)).status).toBe(0);
    await disconnect(url);
  });

  it('every answer is true and nothing stays mounted but at the leaf, in a hundred tries', async () => {
    const url = await host.volume('raced');
    const prey = victim();
    const mounts = places();
    const client = new Client(host.socket);
    swapper = launch(process.execPath, ['-e', SWAP, at(url), prey.path], {
      uid: STRANGER.uid,
      gid: STRANGER.gid,
      cwd: '/',
    });
    await until('the owner is swapping', () => swapper?.output().includes('swapping'));
    const codes = new Map<string, number>();
    for (let round = 0; round < 100; round++) {
      const answer = await client.connect(url, ALICE, { timeoutMs: 10_000 });
      const code = answer.code ?? 'connected';
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (answer.code === undefined) {
        expect(mountsAt(url)).toBe(1);
        const ended = await client.disconnect(url, ALICE, { timeoutMs: 10_000 });
        expect([ended.status, ended.body['outcome']]).toEqual([200, 'released']);
      }
      expect([round, code, places()]).toEqual([round, code, mounts]);
    }
    client.close();
    expect([...codes.keys()]).not.toContain('internal');
    // Both must have happened, or nothing was raced for.
    expect(codes.get('connected') ?? 0).toBeGreaterThan(0);
    expect(codes.size).toBeGreaterThan(1);
    swapper.child.kill('SIGKILL');
    await swapper.ended;
    prey.untouched();
    for (const name of readdirSync(host.quobyteBase)) {
      if (!lstatSync(join(host.quobyteBase, name)).isDirectory()) rmSync(join(host.quobyteBase, name));
    }
    await until('nothing is left mounted', () => host.mounts().length === 0, 15_000);
    prey.untouched();
  });
});
