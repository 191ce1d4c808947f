// Many who want something of one volume, and one who wants something of many, at the same time. Every answer agrees with
// the kernel's own table, equal requests have the effect of one, and in the end nothing is left.

import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client, type HttpAnswer } from '../../rig/client.js';
import { Host, leafOfUrl } from '../../rig/host.js';
import { descendants } from '../../rig/processes.js';
import { until } from '../../rig/until.js';

let host: Host;
let client: Client;
beforeAll(async () => {
  host = await Host.boot();
  client = new Client(host.socket);
});
afterAll(async () => {
  client.close();
  await host.shutDown();
});
afterEach(async () => {
  expect(host.mounts()).toEqual([]);
  expect(readdirSync(host.quobyteBase)).toEqual([]);
  expect((await client.list()).body['mounts']).toEqual([]);
});

const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`)).length;
const bodies = (answers: readonly HttpAnswer[], field: string): readonly unknown[] =>
  answers.map(({ body }) => body[field]);
const count = (values: readonly unknown[], wanted: unknown): number =>
  values.filter((value) => value === wanted).length;
const times = <T>(number: number, make: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: number }, (_, index) => make(index)));

describe('two clients', () => {
  it('connect and disconnect one volume two hundred times against each other, and none is ever told a lie', async () => {
    const url = await host.volume('contested');
    const outcomes: unknown[] = [];
    const contend = async (me: string, other: string): Promise<void> => {
      for (let round = 0; round < 100; round++) {
        const connected = await client.connect(url, me);
        expect([connected.status, connected.code]).toEqual([200, undefined]);
        // Mine now, whatever the other does: mounted once, and what I write I read.
        expect(mountsAt(url)).toBe(1);
        const file = join(String(connected.body['path']), me.slice(4));
        writeFileSync(file, `${me} ${round}`);
        expect(readFileSync(file, 'utf8')).toBe(`${me} ${round}`);
        const { status, body } = await client.disconnect(url, me);
        expect(status).toBe(200);
        outcomes.push(body['outcome']);
        if (body['outcome'] === 'still-used') expect(body).toMatchObject({ mounted: true, usedBy: [other] });
        else expect(body).toMatchObject({ outcome: 'released', mounted: false, usedBy: [] });
      }
    };
    await Promise.all([contend('cli:one', 'cli:two'), contend('cli:two', 'cli:one')]);
    // Both ways must have been gone, or nobody contended.
    expect(count(outcomes, 'released')).toBeGreaterThan(0);
    expect(count(outcomes, 'still-used')).toBeGreaterThan(0);
  });

  it('one of whom always asks for the other’s attachment to end leave no attachment that nobody was told of', async () => {
    const url = await host.volume('robbed');
    for (let round = 0; round < 20; round++) {
      const [made] = await Promise.all([client.connect(url, 'cli:one'), client.disconnect(url, 'cli:one')]);
      expect(made.status).toBe(200);
      const last = await client.disconnect(url, 'cli:one');
      expect(['released', 'not-connected']).toContain(last.body['outcome']);
      expect(mountsAt(url)).toBe(0);
    }
  });
});

describe('thirty-two clients at once', () => {
  it('share one mount, made by one helper; the last to leave releases it', async () => {
    const url = await host.volume('crowded');
    const helper = join(host.dir, 'bin/mount.quobyte');
    const started = join(host.dir, 'started');
    writeFileSync(started, '');
    renameSync(helper, `${helper}.sound`);
    writeFileSync(helper, `#!/bin/sh\necho >> ${started}\nexec ${helper}.sound "$@"\n`, { mode: 0o755 });
    try {
      const connected = await times(32, (index) => client.connect(url, `cli:client-${index}`));
      expect(count(bodies(connected, 'verdict'), 'healthy')).toBe(32);
      expect(new Set(bodies(connected, 'attachment')).size).toBe(32);
      expect(mountsAt(url)).toBe(1);
      const left = await times(32, (index) => client.disconnect(url, `cli:client-${index}`));
      expect(count(bodies(left, 'outcome'), 'still-used')).toBe(31);
      expect(count(bodies(left, 'outcome'), 'released')).toBe(1);
      expect(readFileSync(started, 'utf8')).toBe('\n');
    } finally {
      renameSync(`${helper}.sound`, helper);
    }
  });

  it('who all want the same attachment make one, and one of those who end it ends it', async () => {
    const url = await host.volume('once');
    const connected = await times(32, () => client.connect(url, 'cli:same', { disk: 'disk-1' }));
    expect(connected.map(({ status }) => status)).toEqual(Array.from({ length: 32 }, () => 200));
    expect(new Set(bodies(connected, 'attachment')).size).toBe(1);
    expect(count(bodies(connected, 'changed'), true)).toBe(1);
    expect(mountsAt(url)).toBe(1);
    const left = await times(32, () => client.disconnect(url, 'cli:same', { disk: 'disk-1' }));
    expect(count(bodies(left, 'outcome'), 'released')).toBe(1);
    expect(count(bodies(left, 'outcome'), 'not-connected')).toBe(31);
  });

  it('who do not agree about one attachment get it in one way, and the others are told', async () => {
    const url = await host.volume('disputed');
    const connected = await times(32, (index) => client.connect(url, 'cli:same', { readOnly: index % 2 === 0 }));
    expect(connected.filter(({ status }) => status === 200)).toHaveLength(16);
    expect(connected.filter(({ code }) => code === 'conflict')).toHaveLength(16);
    expect(new Set(bodies(connected, 'attachment')).size).toBe(2);
    expect((await client.disconnect(url, 'cli:same')).body['outcome']).toBe('released');
  });
});

describe('fifty volumes at once', () => {
  it('are connected, each once, by a bounded number of processes, and released', async () => {
    const urls = await Promise.all(Array.from({ length: 50 }, (_, index) => host.volume(`many-${index}`)));
    const broker = host.pid('broker') ?? 0;
    const idle = descendants(broker).length;
    let most = 0;
    let over = false;
    const watching = until(
      'all is over',
      () => {
        most = Math.max(most, descendants(broker).length);
        return over;
      },
      60_000,
    );
    const connected = await Promise.all(urls.map((url) => client.connect(url, 'cli:all')));
    expect(connected.map(({ status }) => status)).toEqual(urls.map(() => 200));
    expect(urls.map(mountsAt)).toEqual(urls.map(() => 1));
    const left = await Promise.all(urls.map((url) => client.disconnect(url, 'cli:all')));
    expect(count(bodies(left, 'outcome'), 'released')).toBe(50);
    over = true;
    await watching;
    // One helper a volume, and a few children of our own, however many probes there are.
    expect(most - idle).toBeLessThanOrEqual(50 + 8);
    await until('no process is left of it', () => descendants(broker).length <= idle + 4);
  });
});
