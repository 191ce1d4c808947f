// Volumes that hang, of both kinds: requests that are never read, and requests that are read and never answered. Nothing
// else may notice, every request ends in time, and what hangs is called by its name.

import { chownSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { descendants, statusOfThreads } from '../../rig/processes.js';
import { run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds a probe may take in this configuration. */
const PROBE_MS = 1500;
/** Milliseconds by which an answer may be later than its deadline, the start of the command line included. */
const GRACE_MS = 1500;

let host: Host;
beforeAll(async () => {
  host = await Host.boot({ configure: (toml) => toml.replace(/probe_timeout = .*/, 'probe_timeout = "1500ms"') });
});
afterAll(() => host.shutDown());

const connect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', consumer, ...more);
const disconnect = (url: string, consumer: string, ...more: string[]): Promise<Answer> =>
  host.ask('disconnect', url, '--consumer', consumer, ...more);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const begun = performance.now();
  const result = await work();
  return [result, performance.now() - begun];
}

/** Children of the broker whose main thread or any other waits in D state. */
function stuckThreads(pid: number): number {
  let stuck = 0;
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      if (!new RegExp(`^PPid:\\s+${pid}$`, 'm').test(status)) continue;
      for (const task of readdirSync(`/proc/${entry}/task`)) {
        if (/^State:\s+D/m.test(readFileSync(`/proc/${entry}/task/${task}/status`, 'utf8'))) stuck += 1;
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')))
        throw error;
    }
  }
  return stuck;
}

describe.each(['hang-unread', 'hang-unanswered'] as const)('%s', (kind) => {
  it('is called hung within the probe’s deadline, and other volumes go on meanwhile', async () => {
    const name = `frozen-${kind}`;
    const url = await host.volume(name);
    const other = await host.volume(`lively-${kind}`);
    await connect(url, ALICE);
    await host.sandbox('fault', name, kind);
    const hanging = timed(() => connect(url, BOB));
    const [lively, took] = await timed(() => connect(other, BOB));
    expect(lively.status).toBe(0);
    expect(took).toBeLessThan(PROBE_MS);
    const [refused, waited] = await hanging;
    expect(refused).toMatchObject({ status: 9, error: { code: 'hung', leaf: leafOfUrl(url) } });
    expect(waited).toBeLessThan(PROBE_MS + GRACE_MS);
    expect(mountsAt(url)).toBe(1);
    await disconnect(other, BOB);
    await host.sandbox('heal', name);
    await until(
      'the volume is healthy again',
      async () => (await host.ask('validate', url)).body['verdict'] === 'healthy',
    );
    expect((await connect(url, BOB)).status).toBe(0);
    await disconnect(url, ALICE);
    expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
  });

  it('is probed by one process at a time, however many ask', async () => {
    const name = `asked-${kind}`;
    const url = await host.volume(name);
    await connect(url, ALICE);
    await host.sandbox('fault', name, kind);
    const verdicts = await Promise.all(Array.from({ length: 8 }, () => host.ask('validate', url)));
    expect(verdicts.map(({ body }) => body['verdict'])).toEqual(Array.from({ length: 8 }, () => 'hung'));
    const broker = host.pid('broker') ?? 0;
    expect(stuckThreads(broker)).toBeLessThanOrEqual(1);
    await host.sandbox('heal', name);
    await until('healthy again', async () => (await host.ask('validate', url)).body['verdict'] === 'healthy');
    await disconnect(url, ALICE);
  });

  it('does not keep a disconnect: the answer is the truth, and the mount goes when it can', async () => {
    const name = `left-${kind}`;
    const url = await host.volume(name);
    const { body } = await connect(url, ALICE);
    writeFileSync(join(String(body['path']), 'f'), 'x');
    await host.sandbox('fault', name, kind);
    // An outstanding probe of ours keeps the mount busy; it must not be named as the one who does.
    expect((await host.ask('validate', url)).body['verdict']).toBe('hung');
    const [answer, took] = await timed(() => disconnect(url, ALICE, '--timeout', '10'));
    expect(['hung', 'released']).toContain(answer.body['outcome']);
    expect(answer.body['mounted']).toBe(mountsAt(url) > 0);
    expect(took).toBeLessThan(10_000 + GRACE_MS);
    await host.sandbox('heal', name);
    await until('the mount is gone', () => mountsAt(url) === 0, 45_000);
  });

  it('does not delay ls, nor a request’s own deadline', async () => {
    const name = `patient-${kind}`;
    const url = await host.volume(name);
    await connect(url, ALICE);
    await host.sandbox('fault', name, kind);
    const [answer, took] = await timed(() => connect(url, BOB, '--timeout', '1'));
    expect(['hung', 'deadline-exceeded']).toContain(answer.error?.code);
    expect(took).toBeLessThan(1000 + GRACE_MS);
    const [ls, lsTook] = await timed(() => host.ask('ls'));
    expect(ls.status).toBe(0);
    expect(lsTook).toBeLessThan(1000);
    await host.sandbox('heal', name);
    await until('healthy again', async () => (await host.ask('validate', url)).body['verdict'] === 'healthy');
    await disconnect(url, ALICE);
  });
});

describe('a volume that hangs while it is mounted', () => {
  it('fails the connect in time and is taken away again', async () => {
    const url = await host.volume('stillborn');
    await host.sandbox('fault', 'stillborn', 'hang-unread');
    const [answer, took] = await timed(() => connect(url, ALICE, '--timeout', '6'));
    expect(answer.status).not.toBe(0);
    expect(['hung', 'deadline-exceeded', 'helper-failed', 'stuck']).toContain(answer.error?.code);
    expect(took).toBeLessThan(6000 + GRACE_MS);
    await host.sandbox('heal', 'stillborn');
    await until('nothing is left', () => mountsAt(url) === 0, 45_000);
    expect((await connect(url, ALICE)).status).toBe(0);
    await disconnect(url, ALICE);
  });
});

it('twenty volumes come and go while twenty others hang', async () => {
  const hung = await Promise.all(Array.from({ length: 20 }, (_, index) => host.volume(`ice-${index}`)));
  for (const url of hung) expect((await connect(url, ALICE)).status).toBe(0);
  for (const index of hung.keys()) await host.sandbox('fault', `ice-${index}`, 'hang-unanswered');
  const waiting = hung.map((url) => connect(url, BOB));
  for (let index = 0; index < 20; index++) {
    const url = await host.volume(`water-${index}`);
    expect((await connect(url, BOB)).status).toBe(0);
    expect((await disconnect(url, BOB)).body['outcome']).toBe('released');
  }
  expect((await Promise.all(waiting)).map(({ error }) => error?.code)).toEqual(hung.map(() => 'hung'));
  for (const index of hung.keys()) await host.sandbox('heal', `ice-${index}`);
  for (const url of hung) {
    await until('healthy again', async () => (await host.ask('validate', url)).body['verdict'] === 'healthy');
    await disconnect(url, ALICE);
  }
  await until('all are gone', () => host.mounts().length === 0, 60_000);
});

describe('probe children that a process of the access user stops', () => {
  const USER = { uid: 54_321, gid: 54_321 };
  let own: Host;
  beforeAll(async () => {
    own = await Host.boot({ configure: (toml) => `${toml}access_uid = ${USER.uid}\naccess_gid = ${USER.gid}\n` });
  });
  afterAll(() => own.shutDown());

  const children = (): readonly number[] =>
    descendants(own.pid('broker') ?? 0)
      .map(({ pid }) => pid)
      .filter((pid) => statusOfThreads(pid, 'Uid').some((uids) => uids.startsWith(`${USER.uid}\t`)));

  it('make no volume hung: all are asked by another child', async () => {
    const names = ['one', 'two', 'three'];
    const urls = names.map((name) => own.localVolume(name));
    for (const name of names) chownSync(join(own.localRoot, name), USER.uid, USER.gid);
    for (const url of urls) {
      expect((await own.ask('connect', url, '--consumer', ALICE)).status).toBe(0);
    }
    const stopped = children();
    expect(stopped).not.toEqual([]);
    for (const pid of stopped) expect((await run('/bin/kill', ['-STOP', String(pid)], USER)).status).toBe(0);
    const answers = await Promise.all(urls.map((url) => own.ask('connect', url, '--consumer', BOB)));
    expect(answers.map(({ body }) => body['verdict'])).toEqual(urls.map(() => 'healthy'));
    for (const pid of stopped) expect(children()).not.toContain(pid);
    for (const url of urls) {
      expect((await own.ask('validate', url)).body['verdict']).toBe('healthy');
      for (const consumer of [ALICE, BOB]) await own.ask('disconnect', url, '--consumer', consumer);
    }
  });
});
