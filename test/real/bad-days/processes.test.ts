// Bad days of the processes themselves: a second one, a killed one, a stopped one, one that is told to end in the middle
// of its work, one that is started where nobody sees its mounts. And what the agent must never be: privileged.

import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../rig/client.js';
import { alive, Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { AGENT } from '../../rig/identity.js';
import { descendants, descriptors, memory, running, statusOfThreads } from '../../rig/processes.js';
import { FAIRLEAD, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import type { ListedMount } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
/** Milliseconds within which SIGTERM must end everything. */
const END_MS = 10_000;

let host: Host;

const connect = (url: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', ALICE, ...more);
const disconnect = (url: string): Promise<Answer> => host.ask('disconnect', url, '--consumer', ALICE);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`)).length;
const helpers = (): readonly number[] => running(join(host.dir, 'bin/mount.quobyte')).map(({ pid }) => pid);
const starting = () => host.fairlead(['up', '--config', host.configFile, '--json'], { deadlineMs: 20_000 });
const listed = async (url: string): Promise<ListedMount | undefined> =>
  ((await host.ask('ls')).body['mounts'] as readonly ListedMount[]).find(({ leaf }) => leaf === leafOfUrl(url));
const usersOf = async (url: string): Promise<readonly string[]> =>
  ((await listed(url))?.attachments ?? []).map(({ consumer }) => consumer);
const pidOf = (who: 'agent' | 'broker'): number => {
  const pid = host.pid(who);
  if (pid === null) throw new Error(`there is no ${who}`);
  return pid;
};
const nothingIsLeft = (): Promise<unknown> =>
  until(
    'nothing is left: no mount, no leaf, no helper',
    () => host.mounts().length === 0 && readdirSync(host.quobyteBase).length === 0 && helpers().length === 0,
    20_000,
  );

describe('the agent', () => {
  beforeAll(async () => {
    host = await Host.boot();
  });
  afterAll(() => host.shutDown());

  it('is never uid 0: real, effective, saved or file-system, in no thread, with no group and no capability', () => {
    const agent = pidOf('agent');
    const { uid, gid } = AGENT;
    const threads = readdirSync(`/proc/${agent}/task`).length;
    expect(threads).toBeGreaterThan(4);
    const each = (field: string): readonly string[] => [...new Set(statusOfThreads(agent, field))];
    expect(each('Uid')).toEqual([`${uid}\t${uid}\t${uid}\t${uid}`]);
    expect(each('Gid')).toEqual([`${gid}\t${gid}\t${gid}\t${gid}`]);
    expect(each('Groups')).toEqual(['']);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      expect([set, each(set)]).toEqual([set, ['0'.repeat(16)]]);
    expect(each('CapEff')).not.toEqual(statusOfThreads(pidOf('broker'), 'CapEff').slice(0, 1));
  });

  it('holds nothing open that its user could not open by itself, but for what it listens and speaks on', () => {
    const mine = ['state/ledger/', 'run/agent.lock', 'run/ledger.witness'].map((name) =>
      join(host.dir, 'fairlead', name),
    );
    const odd = descriptors(pidOf('agent')).filter(
      (target) =>
        !/^(?:socket|pipe|anon_inode):/.test(target) &&
        target !== '/dev/null' &&
        !mine.some((path) => target.startsWith(path)),
    );
    expect(odd).toEqual([]);
  });

  it('cannot reach what is the broker’s: its lock, its socket’s name, the ledger’s parent, the bases', async () => {
    const { uid, gid } = AGENT;
    const script = `
      const fs = require('node:fs');
      const [dir] = process.argv.slice(1);
      const tries = {
        lock: () => fs.openSync(dir + '/run/broker.lock', 'r+'),
        removeLock: () => fs.unlinkSync(dir + '/run/broker.lock'),
        removeSocket: () => fs.unlinkSync(dir + '/run/broker.sock'),
        renameSocket: () => fs.renameSync(dir + '/run/broker.sock', dir + '/run/mine.sock'),
        state: () => fs.mkdirSync(dir + '/state/x'),
        base: () => fs.mkdirSync(dir + '/mnt/quobyte/x'),
        kill: () => process.kill(Number(process.argv[2]), 'SIGCONT'),
        memory: () => fs.openSync('/proc/' + process.argv[2] + '/mem', 'r'),
      };
      const outcome = (work) => { try { work(); return 'done'; } catch (error) { return error.code; } };
      console.log(JSON.stringify(Object.fromEntries(Object.entries(tries).map(([name, work]) => [name, outcome(work)]))));`;
    const { stdout } = await run(
      process.execPath,
      ['-e', script, join(host.dir, 'fairlead'), String(pidOf('broker'))],
      {
        uid,
        gid,
        cwd: '/',
      },
    );
    expect(
      Object.entries(JSON.parse(stdout) as object).filter(([, end]) => end !== 'EACCES' && end !== 'EPERM'),
    ).toEqual([]);
  });
});

describe('a second fairlead up', () => {
  beforeAll(async () => {
    host = await Host.boot();
  });
  afterAll(() => host.shutDown());

  it('is refused, says who is first, and does not disturb it', async () => {
    const url = await host.volume('undisturbed');
    await connect(url);
    const before = [host.pid('agent'), host.pid('broker')];
    const { status, stdout } = await starting();
    expect(status).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'conflict', field: 'run_dir' } });
    expect([host.pid('agent'), host.pid('broker')]).toEqual(before);
    expect((await host.ask('validate', url)).body['verdict']).toBe('healthy');
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('takes over after the first was killed, with everything that was promised', async () => {
    const url = await host.volume('inherited');
    await connect(url);
    await host.crash();
    await host.up();
    expect(await usersOf(url)).toEqual([ALICE]);
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('is refused where a lock is a link, and what the link leads to is not touched', async () => {
    await host.down();
    const victim = join(host.dir, 'victim');
    writeFileSync(victim, 'untouched');
    chmodSync(victim, 0o600);
    for (const name of ['agent.lock', 'broker.lock', 'up.lock']) {
      // As sound as a lock could be, but for the link.
      chownSync(victim, name === 'agent.lock' ? AGENT.uid : 0, 0);
      const lock = join(host.dir, 'fairlead/run', name);
      rmSync(lock, { force: true });
      symlinkSync(victim, lock);
      expect([name, (await starting()).status]).toEqual([name, 14]);
      expect(readFileSync(victim, 'utf8')).toBe('untouched');
      rmSync(lock);
    }
    await host.up();
  });

  it('leaves alone what lies where its socket belongs and is no socket', async () => {
    await host.down();
    const socket = join(host.dir, 'fairlead/run/agent.sock');
    rmSync(socket, { force: true });
    writeFileSync(socket, 'somebody’s');
    expect((await starting()).status).toBe(14);
    expect(readFileSync(socket, 'utf8')).toBe('somebody’s');
    rmSync(socket);
    await host.up();
  });
});

describe('fairlead up that is', () => {
  beforeAll(async () => {
    host = await Host.boot();
  });
  afterAll(() => host.shutDown());
  afterEach(nothingIsLeft);

  it('told to end during a mount ends in time, lets the helper be, and puts the rest in order at its next start', async () => {
    const [url, kept] = [await host.volume('late'), await host.volume('kept')];
    await connect(kept);
    await host.sandbox('fault', 'late', 'slow-mount', '10000');
    const connecting = connect(url, '--timeout', '60');
    const [helper = 0] = await until('the helper is at work', () => helpers().length > 0 && helpers());
    const begun = performance.now();
    await host.down();
    expect(performance.now() - begun).toBeLessThan(END_MS);
    expect((await connecting).status).not.toBe(0);
    // Its unit is its own. The next start cannot know whether it has served somebody meanwhile, and does not end it either; but
    // what it mounts then is for nobody, and goes.
    expect(alive(helper)).toBe(true);
    expect([mountsAt(kept), mountsAt(url)]).toEqual([1, 0]);
    await host.up();
    await until('the helper has ended', () => !alive(helper), 20_000);
    await until(
      'what it has mounted is unmounted',
      async () => mountsAt(url) === 0 && (await listed(url)) === undefined,
      20_000,
    );
    expect([await usersOf(kept), await usersOf(url)]).toEqual([[ALICE], []]);
    await host.sandbox('heal', 'late');
    expect((await connect(url)).status).toBe(0);
    for (const volume of [url, kept]) expect((await disconnect(volume)).body['outcome']).toBe('released');
  });

  it('killed alone takes agent and broker with it, and no mount', async () => {
    const url = await host.volume('orphaned');
    await connect(url);
    const [agent, broker] = [pidOf('agent'), pidOf('broker')];
    const supervisor = Number(statusOfThreads(broker, 'PPid')[0]);
    process.kill(supervisor, 'SIGKILL');
    await until('both have ended', () => !alive(agent) && !alive(broker), END_MS);
    expect(mountsAt(url)).toBe(1);
    await host.up();
    expect(await usersOf(url)).toEqual([ALICE]);
    await disconnect(url);
  });
});

describe('without a broker', () => {
  beforeAll(async () => {
    host = await Host.boot({ configure: (toml) => toml.replace(/mount_timeout = .*/, 'mount_timeout = "10s"') });
  });
  afterAll(() => host.shutDown());

  it('that is stopped every request ends in time, typed, and ls answers; with it again all is well', async () => {
    const [url, other] = [await host.volume('waiting'), await host.volume('waiting-too')];
    await connect(url);
    const broker = pidOf('broker');
    process.kill(broker, 'SIGSTOP');
    try {
      const begun = performance.now();
      const answers = await Promise.all([
        connect(other, '--timeout', '2'),
        host.ask('validate', url, '--timeout', '2'),
        host.ask('disconnect', url, '--consumer', 'cli:nobody', '--timeout', '2'),
      ]);
      expect(performance.now() - begun).toBeLessThan(2000 + 1000 + 1500);
      for (const { error } of answers) expect(['unavailable', 'deadline-exceeded']).toContain(error?.code);
      expect((await host.ask('ls')).status).toBe(0);
      expect(await usersOf(url)).toEqual([ALICE]);
    } finally {
      process.kill(broker, 'SIGCONT');
    }
    await until(
      'the broker is heard again',
      async () => (await host.ask('validate', url)).body['verdict'] === 'healthy',
    );
    await until('the failed connect left nothing', () => mountsAt(other) === 0);
    expect(await usersOf(other)).toEqual([]);
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it('that dies again and again connect is unavailable, ls answers, and the last one serves', async () => {
    const url = await host.volume('unlucky');
    const agent = pidOf('agent');
    const codes = new Set<string>();
    for (let deaths = 0; deaths < 7; deaths++) {
      const broker = await until('a broker', () => host.pid('broker') ?? undefined, 20_000);
      process.kill(broker, 'SIGKILL');
      await until('it is dead', () => !alive(broker));
      const client = new Client(host.socket);
      const { code } = await client.connect(url, ALICE, { timeoutMs: 40 });
      if (code !== undefined) codes.add(code);
      expect((await client.list()).status).toBe(200);
      client.close();
    }
    expect(codes.size).toBeGreaterThan(0);
    expect([...codes].filter((code) => code !== 'unavailable' && code !== 'deadline-exceeded')).toEqual([]);
    await host.ready();
    expect(host.pid('agent')).toBe(agent);
    expect((await connect(url)).status).toBe(0);
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  it.each([300, 900])(
    'for a moment in the middle of a mount, %i ms after its begin, connect tells the truth',
    async (ms) => {
      const name = `cut-${ms}`;
      const url = await host.volume(name);
      await host.sandbox('fault', name, 'slow-mount', '1200');
      const connecting = connect(url, '--timeout', '15');
      await until('the helper is at work', () => helpers().length > 0);
      const killAt = performance.now() + ms;
      await until('the moment has come', () => performance.now() > killAt);
      process.kill(pidOf('broker'), 'SIGKILL');
      const { error } = await connecting;
      await host.ready();
      if (error === undefined) {
        expect((await host.ask('validate', url)).body['verdict']).toBe('healthy');
        expect(await usersOf(url)).toEqual([ALICE]);
        expect((await disconnect(url)).body['outcome']).toBe('released');
      } else {
        expect(['unavailable', 'deadline-exceeded', 'stuck', 'helper-failed']).toContain(error.code);
        expect(await usersOf(url)).toEqual([]);
      }
      await nothingIsLeft();
    },
  );
});

describe('a broker in a mount namespace of its own', () => {
  afterEach(() => host.shutDown());

  it('refuses to start unless that is allowed, and nothing is mounted', async () => {
    host = await Host.prepare({ configure: (toml) => toml.replace('isolated = true', 'isolated = false') });
    const unshare = '/usr/bin/unshare';
    expect(existsSync(unshare)).toBe(true);
    const args = ['--mount', '--propagation', 'private', FAIRLEAD, 'up', '--config', host.configFile, '--json'];
    const { status, stdout } = await run(unshare, args, { deadlineMs: 20_000 });
    expect(status).toBe(14);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'config-invalid', field: 'isolated' } });
    expect(readlinkSync('/proc/self/ns/mnt')).toBe(readlinkSync('/proc/1/ns/mnt'));
  });
});

describe('three hundred cycles', () => {
  beforeAll(async () => {
    host = await Host.boot();
  });
  afterAll(() => host.shutDown());

  it('of connect and disconnect leave mounts, descriptors, children, leaves and memory as they were', async () => {
    const client = new Client(host.socket);
    const urls = [await host.volume('cycle-1'), await host.volume('cycle-2'), host.localVolume('cycle-3')];
    const cycles = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        const answers = await Promise.all(
          urls.map(async (url) => [
            (await client.connect(url, `cli:round-${round}`)).status,
            (await client.disconnect(url, `cli:round-${round}`)).body['outcome'],
          ]),
        );
        expect(answers).toEqual(urls.map(() => [200, 'released']));
      }
    };
    const look = (): Record<string, unknown> => ({
      mounts: host.mounts(),
      leaves: [...readdirSync(host.quobyteBase), ...readdirSync(host.localBase)],
      helpers: helpers(),
      agentDescriptors: descriptors(pidOf('agent')).length,
      agentThreads: readdirSync(`/proc/${pidOf('agent')}/task`).length,
      agentChildren: descendants(pidOf('agent')).length,
      brokerDescriptors: descriptors(pidOf('broker')).length,
      brokerThreads: readdirSync(`/proc/${pidOf('broker')}/task`).length,
      brokerChildren: descendants(pidOf('broker')).length,
    });
    await cycles(25);
    const before = look();
    const memoryBefore = [memory(pidOf('agent')), memory(pidOf('broker'))];
    await cycles(100);
    expect(look()).toEqual(before);
    for (const [index, who] of (['agent', 'broker'] as const).entries()) {
      expect([who, memory(pidOf(who)) - (memoryBefore[index] ?? 0) < 60]).toEqual([who, true]);
    }
    expect(lstatSync(join(host.dir, 'fairlead/state/ledger/ledger.db')).size).toBeLessThan(1_000_000);
    client.close();
  });
});
