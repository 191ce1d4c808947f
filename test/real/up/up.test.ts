// `fairlead up` as an operator meets it: who runs as whom, what a second one is told, what a kill of any of the three
// leaves behind, and that root is needed to start but not to go on.

import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { alive, Host } from '../../rig/host.js';
import { FAIRLEAD, launch, ROOT, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

function status(pid: number | null, field: string): string {
  const text = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  return new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(text)?.[1] ?? '';
}

test('the agent is never uid 0, has no group and no capability of root, and the broker has', async () => {
  await using host = await Host.boot();
  const agent = host.pid('agent');
  expect(status(agent, 'Uid')).toBe('61786\t61786\t61786\t61786');
  expect(status(agent, 'Gid')).toBe('61786\t61786\t61786\t61786');
  expect(status(agent, 'Groups').trim()).toBe('');
  for (const set of ['CapPrm', 'CapEff', 'CapAmb']) expect(status(agent, set)).toMatch(/^0+$/);
  expect(status(host.pid('broker'), 'Uid')).toMatch(/^0\t/);
});

test('a second one is told who has the place, and nothing is disturbed', async () => {
  await using host = await Host.boot();
  const before = [host.pid('agent'), host.pid('broker')];
  const second = await host.fairlead(['up', '--config', host.configFile, '--json']);
  expect(second.status).toBe(5);
  expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: 'conflict', field: 'run_dir', retryable: false } });
  expect([host.pid('agent'), host.pid('broker')]).toEqual(before);
  expect((await host.ask('ls')).status).toBe(0);
});

test('SIGTERM ends it within ten seconds, with a mount in use left alone and found again', async () => {
  await using host = await Host.boot();
  const url = await host.volume('kept');
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
  const started = Date.now();
  expect(await host.down()).toBe(0);
  expect(Date.now() - started).toBeLessThan(10_000);
  expect(host.mounts()).toHaveLength(1);
  expect([host.pid('agent'), host.pid('broker')]).toEqual([null, null]);
  await host.up();
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).body).toMatchObject({ changed: false });
});

test('agent and broker end when their supervisor is killed, and a new one takes over at once', async () => {
  await using host = await Host.boot();
  const pids = [host.pid('agent'), host.pid('broker')];
  const [supervisor] = readFileSync(join(host.dir, 'fairlead/run/up.lock'), 'utf8').split('\n');
  process.kill(Number(supervisor), 'SIGKILL');
  await host.up();
  await until('the old ones are gone', () => pids.every((pid) => pid !== null && !alive(pid)));
  expect((await host.ask('ls')).status).toBe(0);
});

test('a checkout that only root may read is enough', async () => {
  await using host = await Host.prepare();
  const closed = join(host.dir, 'closed');
  mkdirSync(join(closed, 'checkout'), { recursive: true });
  chmodSync(closed, 0o700);
  execFileSync('/bin/mount', ['--bind', ROOT, join(closed, 'checkout')]);
  const up = launch(join(closed, 'checkout/bin/fairlead'), ['up', '--config', host.configFile]);
  try {
    await host.ready(up);
    expect((await host.ask('validate', 'not a url')).error).toMatchObject({ code: 'invalid-argument', field: 'url' });
    expect((await host.ask('doctor')).status).not.toBe(70);
    const url = await host.volume('v');
    expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
    expect((await host.ask('disconnect', url, '--consumer', 'cli:a')).body).toMatchObject({ outcome: 'released' });
  } finally {
    up.child.kill('SIGTERM');
    await up.ended;
    execFileSync('/bin/umount', ['-l', join(closed, 'checkout')]);
  }
});

test('a checkout of another user is refused, or named where isolated is set', async () => {
  await using host = await Host.prepare();
  const theirs = join(host.dir, 'theirs');
  mkdirSync(theirs);
  for (const name of ['bin', 'dist', 'package.json']) cpSync(join(ROOT, name), join(theirs, name), { recursive: true });
  symlinkSync(realpathSync(join(ROOT, 'node_modules')), join(theirs, 'node_modules'));
  const program = join(theirs, 'dist/src/agent.js');
  chownSync(program, 4242, 4242);
  const ours = readFileSync(host.configFile, 'utf8');
  writeFileSync(host.configFile, ours.replace('isolated = true', 'isolated = false'));
  const words = ['up', '--config', host.configFile, '--json'];
  const refused = await run(join(theirs, 'bin/fairlead'), words);
  expect(refused.status).toBe(13);
  expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'helper-untrusted' } });
  expect(refused.stdout).toContain(`${program} belongs to uid 4242`);
  expect(existsSync(join(host.dir, 'fairlead/run'))).toBe(false);
  writeFileSync(host.configFile, ours);
  const up = launch(join(theirs, 'bin/fairlead'), words);
  await host.ready(up);
  expect(up.output()).toContain('"event":"program-not-roots"');
  up.child.kill('SIGTERM');
  await up.ended;
});

test('anybody else than root is told to be root', async () => {
  const bin = '/tmp/fairlead-as-user';
  rmSync(bin, { force: true });
  symlinkSync(FAIRLEAD, bin);
  const ended = await run(bin, ['up', '--json'], { uid: 4242, gid: 4242 });
  rmSync(bin);
  expect(ended.status).toBe(4);
  expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'permission-denied' } });
});

test('a configuration that cannot be used names its line, and nothing is started', async () => {
  await using host = await Host.prepare({ configure: (toml) => `${toml}\nmount_bas = "/x"\n` });
  const ended = await host.fairlead(['up', '--config', host.configFile]);
  expect(ended.status).toBe(14);
  expect(ended.stderr).toMatch(/line \d+: backend\.local\.mount_bas: .*did you mean mount_base\?/);
  writeFileSync(host.configFile, 'isolated = true', { mode: 0o666 });
  chmodSync(host.configFile, 0o666);
  expect((await host.fairlead(['up', '--config', host.configFile])).stderr).toContain('chmod go-w');
  expect((await host.fairlead(['up', '--config', '/no/such/file'])).status).toBe(14);
  expect(existsSync(join(host.dir, 'fairlead/run/up.lock'))).toBe(false);
});

test('a halting point kills only the first agent, and only in an isolated set-up', async () => {
  await using host = await Host.prepare();
  const up = await host.up({ FAIRLEAD_HALT_AT: 'connect.planned' });
  const first = host.pid('agent');
  const url = await host.volume('halting');
  const lost = await host.ask('connect', url, '--consumer', 'cli:a');
  expect(lost.error).toMatchObject({ code: 'unavailable' });
  await host.ready(up);
  expect(host.pid('agent')).not.toBe(first);
  expect((await host.ask('connect', url, '--consumer', 'cli:a')).status).toBe(0);
});

test('a stranger gets an answer that can be read', async () => {
  await using host = await Host.boot();
  const { stdout, status: exit } = await run('/usr/bin/setpriv', [
    '--reuid',
    '4242',
    '--regid',
    '4242',
    '--clear-groups',
    process.execPath,
    FAIRLEAD,
    'ls',
    '--json',
    '--socket',
    host.socket,
  ]);
  expect(exit).toBe(4);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'permission-denied' } });
});
