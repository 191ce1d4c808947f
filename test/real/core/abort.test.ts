// The operator's way out of a mount that hangs for good, for both kinds of hanging: the connection is cut, whoever waited is free, and the
// volume comes back for its users. And what must not be aborted is not.

import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';

let host: Host;
beforeAll(async () => {
  host = await Host.boot({
    configure: (toml) => `health_interval = "1s"\n${toml.replace(/probe_timeout = .*/, 'probe_timeout = "1500ms"')}`,
  });
});
afterAll(() => host.shutDown());

interface Shown {
  readonly leaf: string;
  readonly state: string;
  readonly verdict: string | null;
  readonly attachments: readonly { readonly consumer: string }[];
  readonly needsRestart: readonly { readonly pid: number }[];
}

async function shown(url: string): Promise<Shown | undefined> {
  const { body } = await host.ask('ls');
  return (body['mounts'] as readonly Shown[]).find(({ leaf }) => leaf === leafOfUrl(url));
}

const connect = (url: string, consumer: string): Promise<Answer> => host.ask('connect', url, '--consumer', consumer);

/** A process of its own that keeps a file open; this one must not, since it starts others while the volume hangs. */
async function holderOf(file: string): Promise<ChildProcess> {
  const child = spawn('/bin/sh', ['-c', 'exec 3<"$1" && exec sleep 600', 'sh', file], { stdio: 'ignore' });
  const target = (): string => readFileSync(`/proc/${child.pid ?? 0}/comm`, 'utf8').trim();
  await until('the file is open', () => target() === 'sleep');
  return child;
}

/** Threads of any process of this namespace that wait in D state. */
function stuckThreads(): number {
  let stuck = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        if (/^State:\s+D/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))) stuck += 1;
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')))
        throw error;
    }
  }
  return stuck;
}

describe.each(['hang-unread', 'hang-unanswered'] as const)('%s', (kind) => {
  it('is seen in ls unasked, aborted, and mounted again for its users', async () => {
    const name = `lost-${kind}`;
    const url = await host.volume(name);
    const other = await host.volume(`well-${kind}`);
    expect((await connect(other, BOB)).status).toBe(0);
    const path = String((await connect(url, ALICE)).body['path']);
    writeFileSync(join(path, 'f'), 'what was written');
    const holder = await holderOf(join(path, 'f'));
    await host.sandbox('fault', name, kind);
    await until('ls says that it hangs', async () => (await shown(url))?.verdict === 'hung');

    const aborted = await host.ask('abort', leafOfUrl(url));
    expect(aborted).toMatchObject({ status: 0, body: { leaf: leafOfUrl(url), verdict: 'stale', usedBy: [ALICE] } });
    await host.sandbox('heal', name);
    await until('it is back', async () => (await shown(url))?.verdict === 'healthy', 45_000);
    const back = await shown(url);
    expect([back?.state, back?.attachments.map(({ consumer }) => consumer)]).toEqual(['mounted', [ALICE]]);
    expect(back?.needsRestart.map(({ pid }) => pid)).toEqual([holder.pid]);
    expect(readFileSync(join(path, 'f'), 'utf8')).toBe('what was written');
    await until('nobody waits for it any more', () => stuckThreads() === 0);
    expect((await shown(other))?.verdict).toBe('healthy');

    holder.kill('SIGKILL');
    await until('its holder is forgotten', async () => (await shown(url))?.needsRestart.length === 0);
    expect((await host.ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
    expect((await host.ask('disconnect', other, '--consumer', BOB)).body['outcome']).toBe('released');
  });
});

it('a mount that answers is not aborted, whatever the operator thinks', async () => {
  const url = await host.volume('lively');
  const path = String((await connect(url, ALICE)).body['path']);
  writeFileSync(join(path, 'f'), 'x');
  expect(await host.ask('abort', leafOfUrl(url))).toMatchObject({ status: 5, error: { code: 'conflict' } });
  expect(readFileSync(join(path, 'f'), 'utf8')).toBe('x');
  expect((await host.ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
  expect(await host.ask('abort', leafOfUrl(url))).toMatchObject({ status: 3, error: { code: 'not-found' } });
});
