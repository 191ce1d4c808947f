// R19 and R21: secrets are planted wherever a stranger can put one, the log is turned up as far as it goes, and then
// everything that Fairlead said or wrote is searched for them. What a stranger writes cannot forge a line either.

import { chmodSync, lstatSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Host, type Answer } from '../rig/host.js';
import type { Running } from '../rig/programs.js';

const SECRET = 'hunter2-correct-horse';
const FORGED = '{"level":"error","event":"forged-line"}';

let host: Host;
let up: Running;
const said: string[] = [];
beforeAll(async () => {
  host = await Host.prepare({ configure: (toml) => `log_level = "debug"\n${toml}` });
  const helper = join(host.dir, 'bin/mount.quobyte');
  renameSync(helper, `${helper}.real`);
  const lines = [
    `connecting to quobyte://admin:${SECRET}@reg1/talkative`,
    `password=${SECRET}`,
    `Authorization: Bearer ${SECRET}`,
    `GET /?token=${SECRET}`,
    `{"secret_key": "${SECRET}"}`,
    `sig=${SECRET}`,
    `AccountKey=${SECRET}`,
    `user%${SECRET}`,
    `<password>${SECRET}</password>`,
    `with password ${SECRET}`,
    `password%3D${SECRET}`,
    `\u001b[2J\u202e${FORGED}`,
    FORGED,
  ];
  writeFileSync(join(host.dir, 'words'), `${lines.join('\n')}\n`);
  writeFileSync(
    helper,
    `#!/bin/sh\ncat ${host.dir}/words >&2\ncase "$*" in *talkative*) exit 1;; esac\nexec ${helper}.real "$@"\n`,
  );
  chmodSync(helper, 0o755);
  up = await host.up();
});
afterAll(() => host.shutDown());

async function ask(...args: string[]): Promise<Answer> {
  const [run, answer] = [await host.fairlead(args), await host.ask(...args)];
  said.push(run.stdout, run.stderr, JSON.stringify(answer.body));
  return answer;
}

/** Every regular file that Fairlead may have written. */
function written(directory: string): readonly string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    const facts = lstatSync(path);
    if (facts.isDirectory()) return written(path);
    return facts.isFile() ? [path] : [];
  });
}

it('a planted secret is in no answer, no log line and no file, and no line is forged', async () => {
  const who = ['--consumer', 'cli:alice'];
  await host.volume('talkative');
  const good = await host.volume('discreet');
  expect((await ask('connect', 'quobyte://reg1/talkative', ...who)).error?.code).toBe('helper-failed');
  for (const url of [
    `quobyte://admin:${SECRET}@reg1/discreet`,
    `quobyte://reg1/discreet?token=${SECRET}`,
    `quobyte://reg1/discreet#${SECRET}`,
    `https://${SECRET}@reg1/discreet`,
    `quobyte://reg1/a\n${FORGED}`,
  ]) {
    expect(await ask('connect', url, ...who)).toMatchObject({ status: 2, error: { code: 'invalid-argument' } });
    await ask('validate', url);
    await ask('disconnect', url, ...who);
  }
  await ask('connect', good, '--disk', 'disk-1', ...who);
  await ask('ls');
  await ask('doctor');
  await ask('disk-config', good, '--disk', 'disk-1');
  await ask('disconnect', good, '--disk', 'disk-1', ...who);
  for (const text of said) expect(text).not.toContain(SECRET);
  const files = [...written(join(host.dir, 'fairlead/run')), ...written(join(host.dir, 'fairlead/state'))];
  expect(files.length).toBeGreaterThan(2);
  for (const file of files) expect([file, readFileSync(file, 'latin1').includes(SECRET)]).toEqual([file, false]);
  await host.down();
  const log = up.output();
  expect(log).not.toContain(SECRET);
  expect(log).not.toMatch(/discreet|talkative|reg1/);
  const events = log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { readonly event: string }).event);
  expect(events.length).toBeGreaterThan(10);
  expect(events).not.toContain('forged-line');
  expect(log).not.toMatch(/[\u001b\u202e]/u);
});
