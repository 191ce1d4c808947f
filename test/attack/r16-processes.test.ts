// R16: check, mount and validate are one critical section a volume, whoever asks from whichever process, and volumes do
// not wait for each other.

import { appendFileSync, chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Host, leafOfUrl } from '../rig/host.js';
import { running } from '../rig/processes.js';
import { until } from '../rig/until.js';

const ROUNDS = 20;

let host: Host;
let log: string;
beforeAll(async () => {
  host = await Host.prepare();
  log = join(host.dir, 'started');
  writeFileSync(log, '');
  const helper = join(host.dir, 'bin/mount.quobyte');
  renameSync(helper, `${helper}.real`);
  writeFileSync(helper, `#!/bin/sh\necho "$$" >> ${log}\nexec ${helper}.real "$@"\n`);
  chmodSync(helper, 0o755);
  await host.up();
});
afterAll(() => host.shutDown());

const starts = (): number =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => /^\d/.test(line)).length;

it(`two processes that connect and disconnect one volume, ${ROUNDS} times: one helper a round`, async () => {
  const url = await host.volume('contended');
  const both = (verb: string) =>
    Promise.all(['cli:alice', 'cli:bob'].map((consumer) => host.ask(verb, url, '--consumer', consumer)));
  for (let round = 1; round <= ROUNDS; round++) {
    const connected = await both('connect');
    expect(connected.map(({ status }) => status)).toEqual([0, 0]);
    expect([starts(), host.mounts().length]).toEqual([round, 1]);
    const outcomes = (await both('disconnect')).map(({ body }) => body['outcome']);
    expect(outcomes.sort()).toEqual(['released', 'still-used']);
    expect(host.mounts()).toEqual([]);
    appendFileSync(log, '\n');
  }
});

it('a helper that hangs for one volume does not delay another', async () => {
  const hung = await host.volume('slow');
  const other = await host.volume('quick');
  await host.sandbox('fault', 'slow', 'slow-mount', '5000');
  const waiting = host.ask('connect', hung, '--consumer', 'cli:alice');
  await until('its helper is at work', () => running(leafOfUrl(hung)).length > 0);
  const begun = performance.now();
  expect((await host.ask('connect', other, '--consumer', 'cli:alice')).status).toBe(0);
  expect(performance.now() - begun).toBeLessThan(3000);
  expect(host.mounts().map(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(hung)))).not.toContain(true);
  expect((await waiting).status).toBe(0);
  for (const url of [hung, other]) await host.ask('disconnect', url, '--consumer', 'cli:alice');
});
