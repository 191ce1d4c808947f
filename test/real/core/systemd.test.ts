// All of Fairlead on a host that systemd has booted: not isolated, so the broker insists on the host's mount namespace
// and a shared base, and helpers are transient units of PID 1.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leafOfUrl, type Answer } from '../../rig/host.js';
import { FAIRLEAD, ROOT, SANDBOX, type Run, type Running } from '../../rig/programs.js';
import { SystemdContainer, whyNoSystemd } from '../../rig/systemd-container.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const why = whyNoSystemd();

describe.skipIf(why !== null)(`on a host with systemd${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let host: SystemdContainer;
  let cluster: Running;
  let up: Running;
  let config = '';
  let dir = '';

  const ask = async (...args: string[]): Promise<Answer> => {
    const { status, stdout, stderr } = await host.run(FAIRLEAD, [
      ...args,
      '--json',
      '--socket',
      `${dir}/fairlead/run/agent.sock`,
    ]);
    if (stdout === '') throw new Error(`fairlead said nothing: ${stderr}`);
    const body = JSON.parse(stdout) as Answer['body'];
    return { status, body, error: body['error'] as Answer['error'] };
  };
  const sandbox = (command: string, ...args: string[]): Promise<Run> => host.run(SANDBOX, [command, dir, ...args]);
  const volume = async (name: string): Promise<string> => {
    expect((await sandbox('volume', name)).status).toBe(0);
    return `quobyte://reg1:7861/${name}`;
  };
  /** The helper's unit as systemd lists it: name, load, active, sub, description; empty when there is none. */
  const unitOf = async (url: string): Promise<string> => {
    const pattern = `fairlead-mount-*-${leafOfUrl(url)}.service`;
    return (await host.run('systemctl', ['list-units', '--plain', '--no-legend', '--full', pattern])).stdout.trim();
  };
  /** The mount table of PID 1 of the container: what the host sees. */
  const mounted = async (url: string): Promise<boolean> =>
    (await host.run('cat', ['/proc/1/mountinfo'])).stdout.includes(`/${leafOfUrl(url)} `);
  const start = async (): Promise<void> => {
    up = host.launch(FAIRLEAD, ['up', '--config', config]);
    await until('fairlead is ready', () => up.output().includes('Fairlead is ready') || ended(), 30_000);
  };
  const stop = async (): Promise<void> => {
    await host.run('kill', ['-TERM', await pid('up')]);
    await up.ended;
  };
  const ended = (): false => {
    if (up.child.exitCode !== null) throw new Error(up.output());
    return false;
  };
  const pid = async (who: string): Promise<string> =>
    (await host.run('cat', [`${dir}/fairlead/run/${who}.lock`])).stdout.trim();

  beforeAll(async () => {
    host = await SystemdContainer.boot();
    dir = host.path('cluster');
    mkdirSync(join(host.shared, 'cluster'), { mode: 0o755 });
    cluster = host.launch(SANDBOX, ['up', dir]);
    await until('the cluster is ready', () => cluster.output().includes('\n'), 20_000);
    const printed = (await sandbox('config')).stdout;
    config = `${dir}/fairlead.toml`;
    writeFileSync(
      join(host.shared, 'cluster/fairlead.toml'),
      printed.replace('isolated = true', 'isolated = false').replace(/mount_timeout = .*/, 'mount_timeout = "3s"'),
    );
    await start();
  }, 180_000);
  afterAll(async () => {
    await stop();
    await host[Symbol.asyncDispose]();
  });

  it('a helper is a transient unit of its own, named by the leaf, and says nothing of the volume', async () => {
    const url = await volume('secret-name');
    await sandbox('fault', 'secret-name', 'own-server');
    expect(await ask('connect', url, '--consumer', ALICE)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect(await mounted(url)).toBe(true);
    expect(await unitOf(url)).toMatch(/ active /);
    expect(await unitOf(url)).not.toContain('secret-name');
    expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
    expect(await mounted(url)).toBe(false);
    await until('the unit is gone', async () => (await unitOf(url)) === '');
  });

  it('a mount whose daemon lives in its unit survives the SIGKILL of agent and broker', async () => {
    const url = await volume('survivor');
    await sandbox('fault', 'survivor', 'own-server');
    const { body } = await ask('connect', url, '--consumer', ALICE);
    const before = [await pid('agent'), await pid('broker')];
    await host.run('kill', ['-KILL', ...before]);
    await until('both are back', async () => {
      const now = [await pid('agent'), await pid('broker')];
      return now.every((each, index) => each !== '' && each !== before[index]);
    });
    await until('and ready', async () => (await ask('ls')).body['broker'] === 'connected', 20_000);
    expect((await host.run('touch', [`${String(body['path'])}/file`])).status).toBe(0);
    expect(await unitOf(url)).toMatch(/ active /);
    expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
  });

  it('a helper that never ends is killed at its deadline by its unit’s control group', async () => {
    const url = await volume('endless');
    await sandbox('fault', 'endless', 'helper-hangs');
    const begun = performance.now();
    const answer = await ask('connect', url, '--consumer', ALICE);
    expect(['deadline-exceeded', 'helper-failed']).toContain(answer.error?.code);
    expect(performance.now() - begun).toBeLessThan(10_000);
    await until('the unit is gone', async () => (await unitOf(url)) === '');
    expect(await mounted(url)).toBe(false);
    await sandbox('heal', 'endless');
    expect((await ask('connect', url, '--consumer', ALICE)).status).toBe(0);
    await ask('disconnect', url, '--consumer', ALICE);
  });

  it('a helper that fails is helper-failed, with what it said beside the message', async () => {
    const url = await volume('failing');
    await sandbox('fault', 'failing', 'helper-fails', '7', 'no such registry');
    const answer = await ask('connect', url, '--consumer', ALICE);
    expect(answer).toMatchObject({ status: 12, error: { code: 'helper-failed' } });
    expect(JSON.stringify(answer.body)).toContain('no such registry');
    expect(await mounted(url)).toBe(false);
  });

  it('a mount in use outlives fairlead itself, and is found again', async () => {
    const url = await volume('longlived');
    await sandbox('fault', 'longlived', 'own-server');
    await ask('connect', url, '--consumer', ALICE);
    await stop();
    expect(await mounted(url)).toBe(true);
    await start();
    expect(await ask('connect', url, '--consumer', ALICE)).toMatchObject({
      body: { changed: false, verdict: 'healthy' },
    });
    expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
  });

  it('the unit that comes with it starts it, until it answers, and a stop leaves the mount in use', async () => {
    const url = await volume('at-boot');
    await sandbox('fault', 'at-boot', 'own-server');
    await stop();
    const unit = readFileSync(join(ROOT, 'deploy/fairlead.service'), 'utf8')
      .replace('/opt/fairlead/bin/fairlead up', `${FAIRLEAD} up --config ${config}`)
      .replace('/opt/fairlead/bin/fairlead ls', `${FAIRLEAD} ls --socket ${dir}/fairlead/run/agent.sock`);
    writeFileSync(join(host.shared, 'cluster/fairlead.service'), unit);
    const systemctl = async (...words: string[]): Promise<void> => {
      const { status, stderr } = await host.run('systemctl', words);
      expect([words, status, stderr]).toEqual([words, 0, '']);
    };
    await host.run('cp', [`${dir}/fairlead.service`, '/run/systemd/system/']);
    await systemctl('daemon-reload');
    await systemctl('start', 'fairlead');
    expect((await ask('connect', url, '--consumer', ALICE)).status).toBe(0);
    await systemctl('stop', 'fairlead');
    expect(await mounted(url)).toBe(true);
    await start();
    expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
  });

  it('starts and serves beside a thousand units of helpers', async () => {
    const count = 1000;
    const url = await volume('one-of-many');
    await sandbox('fault', 'one-of-many', 'own-server');
    await ask('connect', url, '--consumer', ALICE);
    const [prefix = ''] = (await unitOf(url)).split(leafOfUrl(url));
    await stop();
    // As if their notes were lost: a start asks about each.
    const begin = `seq 1 ${count} | xargs -P 8 -I N sh -c 'exec systemd-run --quiet --collect \
      --property=SendSIGKILL=yes --unit=${prefix}$(printf %032x N).service /bin/sleep 100000'`;
    expect(await host.run('sh', ['-c', begin])).toMatchObject({ status: 0 });
    await start();
    await until('it is ready', async () => (await ask('ls')).body['state'] === 'ready', 60_000);
    expect(await ask('connect', url, '--consumer', ALICE)).toMatchObject({ status: 0, body: { changed: false } });
    expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
    expect((await host.run('sh', ['-c', 'pgrep -fc "^/bin/sleep 100000"'])).stdout.trim()).toBe(String(count));
    await host.run('systemctl', ['kill', `${prefix}0*.service`]);
  }, 180_000);

  it('the broker refuses to start where the host would not see its mounts', async () => {
    const other = join(host.shared, 'cluster/other.toml');
    writeFileSync(
      other,
      readFileSync(join(host.shared, 'cluster/fairlead.toml'), 'utf8').replaceAll('/fairlead/', '/elsewhere/'),
    );
    const refused = await host.run('unshare', ['--mount', FAIRLEAD, 'up', '--config', `${dir}/other.toml`]);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr + refused.stdout).toMatch(/namespace/);
  });
});
