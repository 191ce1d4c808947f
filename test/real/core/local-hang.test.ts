// Local volumes on storage that hangs: directories below a FUSE mount whose requests are not answered. Identifying such a
// directory, and binding it, walk its path; nothing but that volume may wait for it.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds a probe may take in this configuration. */
const PROBE_MS = 1500;
/** Milliseconds by which an answer may be later than its deadline, the start of the command line included. */
const GRACE_MS = 1500;
/** The volume of the sandbox that is the storage. */
const STORAGE = 'storage';

let host: Host;
let pool: string;
beforeEach(async () => {
  host = await Host.prepare({
    configure: (toml) =>
      toml
        .replaceAll(/probe_timeout = .*/g, '')
        .replaceAll(/(\nmount_base = .*)/g, '$1\nprobe_timeout = "1500ms"')
        .replace(/roots = \[(.*)\]/, (_, roots: string) => {
          const local: unknown = JSON.parse(roots);
          pool = join(String(local), '../pool');
          return `roots = [${roots}, ${JSON.stringify(pool)}]`;
        }),
  });
  mkdirSync(pool, { mode: 0o755 });
  await host.volume(STORAGE);
  const helper = /mount_helper = "(.*)"/.exec(readFileSync(host.configFile, 'utf8'))?.[1] ?? '';
  expect((await run(helper, [`reg1:7861/${STORAGE}`, pool])).status).toBe(0);
  for (const name of ['used', 'fresh']) mkdirSync(join(pool, name));
  await host.up();
});
afterEach(async () => {
  await host.sandbox('heal', STORAGE);
  await host.shutDown();
});

const connect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', consumer, ...more);
const disconnect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer, ...more);
const verdictOf = async (url: string): Promise<unknown> => (await host.ask('validate', url)).body['verdict'];
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const begun = performance.now();
  const result = await work();
  return [result, performance.now() - begun];
}

/** Volumes elsewhere come, are looked at and go, each in less time than a probe may take. */
async function othersGoOn(name: string): Promise<void> {
  for (const url of [await host.volume(`other-${name}`), host.localVolume(`other-${name}`)]) {
    const [connected, connecting] = await timed(() => connect(url, BOB));
    expect(connected).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await verdictOf(url)).toBe('healthy');
    const [gone, leaving] = await timed(() => disconnect(url, BOB));
    expect(gone.body['outcome']).toBe('released');
    expect(connecting).toBeLessThan(PROBE_MS);
    expect(leaving).toBeLessThan(PROBE_MS);
  }
}

async function nothingIsLeft(): Promise<void> {
  await until('nothing is mounted', () => host.mounts().length === 0, 45_000);
  await until(
    'nothing is known',
    async () => ((await host.ask('ls')).body['mounts'] as unknown[]).length === 0,
    45_000,
  );
  // Neither a call of ours nor a process keeps the storage.
  await until('the storage can be unmounted', async () => (await run('/bin/umount', [pool])).status === 0, 20_000);
  rmdirSync(pool);
}

describe.each(['hang-unread', 'hang-unanswered'] as const)('a local root whose storage is %s', (kind) => {
  it('makes a connect below it hung within its deadline, delays nobody else, and works when it is healed', async () => {
    const url = `local://${pool}/fresh`;
    await host.sandbox('fault', STORAGE, kind);
    const hanging = timed(() => connect(url, ALICE, '--timeout', '6'));
    await othersGoOn(kind);
    const [refused, took] = await hanging;
    expect(refused).toMatchObject({ status: 9, error: { code: 'hung', leaf: leafOfUrl(url) } });
    expect(took).toBeLessThan(6000 + GRACE_MS);
    expect(mountsAt(url)).toBe(0);
    await othersGoOn(`${kind}-later`);
    await host.sandbox('heal', STORAGE);
    await until('a connect succeeds', async () => (await connect(url, ALICE)).status === 0, 45_000);
    expect(mountsAt(url)).toBe(1);
    writeFileSync(join(host.localBase, leafOfUrl(url), 'f'), 'x');
    expect(readFileSync(join(pool, 'fresh/f'), 'utf8')).toBe('x');
    expect((await disconnect(url, ALICE)).body['outcome']).toBe('released');
    await nothingIsLeft();
  });

  it('keeps what is mounted from it, calls it hung, and lets it go when it is healed', async () => {
    const url = `local://${pool}/used`;
    for (const consumer of [ALICE, BOB]) expect((await connect(url, consumer)).status).toBe(0);
    await host.sandbox('fault', STORAGE, kind);
    const [verdict, took] = await timed(() => verdictOf(url));
    expect(verdict).toBe('hung');
    expect(took).toBeLessThan(PROBE_MS + GRACE_MS);
    await othersGoOn(kind);
    expect(await connect(url, 'cli:carol', '--timeout', '6')).toMatchObject({ status: 9, error: { code: 'hung' } });
    expect((await disconnect(url, BOB)).body).toMatchObject({ outcome: 'still-used', mounted: true });
    // Neither a new broker nor a new agent knows the directory, and neither may take its mount for a stranger's.
    await host.kill('broker');
    expect(await verdictOf(url)).toBe('hung');
    const { body } = await host.ask('ls');
    expect(body['mounts']).toMatchObject([{ leaf: leafOfUrl(url), state: 'mounted', verdict: 'hung' }]);
    expect((await disconnect(url, ALICE, '--timeout', '10')).body).toMatchObject({ outcome: 'hung', mounted: true });
    expect(mountsAt(url)).toBe(1);
    await host.sandbox('heal', STORAGE);
    await nothingIsLeft();
  });
});
