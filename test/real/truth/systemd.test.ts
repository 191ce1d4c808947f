// Restarts of the broker on a host that systemd has booted, with helpers in services and in scopes: a disconnect after one
// finds the open file of a guest and ends nothing.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { leafOfUrl, type Answer } from '../../rig/host.js';
import { FAIRLEAD, SANDBOX, type Run, type Running } from '../../rig/programs.js';
import { SystemdContainer, whyNoSystemd } from '../../rig/systemd-container.js';
import { User } from '../../rig/user.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
const why = whyNoSystemd();

describe.skipIf(why !== null)(`on a host with systemd${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let host: SystemdContainer;
  let up: Running;
  let dir = '';
  let toml = '';

  const ask = async (...args: string[]): Promise<Answer> => {
    const socket = `${dir}/fairlead/run/agent.sock`;
    const { status, stdout, stderr } = await host.run(FAIRLEAD, [...args, '--json', '--socket', socket]);
    if (stdout === '') throw new Error(`fairlead said nothing: ${stderr}`);
    const body = JSON.parse(stdout) as Answer['body'];
    return { status, body, error: body['error'] as Answer['error'] };
  };
  const sandbox = (command: string, ...args: string[]): Promise<Run> => host.run(SANDBOX, [command, dir, ...args]);
  const pid = async (who: string): Promise<string> =>
    (await host.run('cat', [`${dir}/fairlead/run/${who}.lock`])).stdout.trim();
  /** The mount table of PID 1 of the container: what the host sees. */
  const mounted = async (url: string): Promise<boolean> =>
    (await host.run('cat', ['/proc/1/mountinfo'])).stdout.includes(`/${leafOfUrl(url)} `);
  /** Process numbers of the volume's clients. */
  const clients = async (name: string): Promise<string> =>
    (await host.run('pgrep', ['-f', `serve ${dir} ${name} `])).stdout.trim();

  async function start(helpers: string): Promise<void> {
    writeFileSync(join(host.shared, 'cluster/fairlead.toml'), `helper_start = "${helpers}"\n${toml}`);
    up = host.launch(FAIRLEAD, ['up', '--config', `${dir}/fairlead.toml`]);
    await until('fairlead is ready', () => {
      if (up.child.exitCode !== null) throw new Error(up.output());
      return up.output().includes('Fairlead is ready');
    });
  }

  async function killBroker(): Promise<void> {
    const before = await pid('broker');
    await host.run('kill', ['-KILL', before]);
    await until('another broker', async () => !['', before].includes(await pid('broker')), 20_000);
    await until('and ready', async () => (await ask('ls')).body['broker'] === 'connected', 20_000);
  }

  beforeAll(async () => {
    host = await SystemdContainer.boot();
    dir = host.path('cluster');
    mkdirSync(join(host.shared, 'cluster'), { mode: 0o755 });
    const cluster = host.launch(SANDBOX, ['up', dir]);
    await until('the cluster is ready', () => cluster.output().includes('\n'), 20_000);
    toml = (await sandbox('config')).stdout.replace('isolated = true', 'isolated = false');
  }, 180_000);
  afterEach(async () => {
    await host.run('kill', ['-TERM', await pid('up')]);
    await up.ended;
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it.each(['auto', 'scope'])(
    'with helper_start = "%s", a restart of the broker makes no disconnect end the client of an open disk',
    async (helpers) => {
      await start(helpers);
      const name = `disk-${helpers}`;
      await sandbox('volume', name);
      await sandbox('fault', name, 'own-server');
      const url = `quobyte://reg1:7861/${name}`;
      const { body } = await ask('connect', url, '--consumer', ALICE);
      await using guest = await User.start('here', host.entering);
      await guest.open('disk', `${String(body['path'])}/disk`);
      await guest.write('disk', 'written');
      const client = await clients(name);
      await killBroker();

      const answer = await ask('disconnect', url, '--consumer', ALICE);
      expect(await guest.read('disk')).toBe('written');
      expect(answer).toMatchObject({ status: 0, body: { outcome: 'busy', mounted: true } });
      expect(await clients(name)).toBe(client);
      await killBroker();
      expect(await ask('connect', url, '--consumer', ALICE)).toMatchObject({ body: { verdict: 'healthy' } });
      expect(await guest.read('disk')).toBe('written');
      await guest.close('disk');
      expect((await ask('disconnect', url, '--consumer', ALICE)).body['outcome']).toBe('released');
      expect(await mounted(url)).toBe(false);
      await until('the client has ended', async () => (await clients(name)) === '', 20_000);
    },
  );
});
