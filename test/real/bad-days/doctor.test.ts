// Doctor's advice is good: for each kind of finding that can be made here, the fault is made, doctor is asked, the commands of
// its advice are run as they stand, and the finding is gone. Where only somebody else can end a fault, that is done instead,
// and the advice must not have commands that change anything.

import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Host, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { ROOT, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';
import { adviceOf, VolumeInUse, type Finding } from '../../rig/volumes.js';

const ALICE = 'cli:alice';
/** Milliseconds for what is done by itself after the commands; less than health_interval here. */
const SOON_MS = 20_000;
/** Nothing may end a finding but the advice. */
const SELDOM = 'health_interval = "10m"\n';
/** Programs of an advice that are run; others only look. */
const ACTS = ['fairlead', 'install', 'chown', 'chmod', 'mv', 'rm', 'umount', 'pkill', 'kill', 'systemctl', 'modprobe'];

let host: Host;
beforeAll(async () => {
  host = await Host.boot({
    configure: (toml) => `${SELDOM}${WITHOUT_LIBVIRT.configure?.(toml) ?? toml}`,
  });
});
afterAll(() => host.shutDown());

/** What doctor says that matches. */
async function findings(about: RegExp): Promise<readonly Finding[]> {
  const { body } = await host.ask('doctor');
  return (body['findings'] as readonly Finding[]).filter(({ subject, message }) =>
    about.test(`${subject}: ${message}`),
  );
}

/** The commands in an advice, up to the next semicolon or sentence. */
function commandsIn(advice: string): readonly string[] {
  const parts = advice.split(/; |\. |: /).map((part) => part.trim().replace(/\.$/, ''));
  return parts.filter((part) => ACTS.some((program) => part.startsWith(`${program} `)));
}

async function follow(advice: string): Promise<void> {
  const commands = commandsIn(advice);
  expect([advice, commands.length > 0]).toEqual([advice, true]);
  const env = { PATH: `${join(ROOT, 'bin')}:${process.env['PATH'] ?? ''}`, FAIRLEAD_SOCKET: host.socket };
  for (const command of commands) {
    const { status, stderr } = await run('/bin/bash', ['-c', command], { env });
    expect([command, status, stderr]).toEqual([command, 0, '']);
  }
}

/** A fault that can be made, and what doctor says of it. */
interface Kind {
  readonly kind: string;
  readonly about: RegExp;
  /** Makes the fault; answers what is to be put right after the test, and by whom else the fault can be ended. */
  readonly make: (name: string) => Promise<{ readonly byOthers?: () => unknown; readonly after?: () => unknown }>;
}

/** A volume in use of a client of its own. */
async function inUse(name: string): Promise<VolumeInUse> {
  const volume = await VolumeInUse.served(host, name);
  expect((await volume.connect(ALICE, '--disk', 'a b', '--read-only')).status).toBe(0);
  return volume;
}

const leafOf = (name: string): string => name.padEnd(32, '0').replaceAll(/[^0-9a-f]/g, '0');

const KINDS: readonly Kind[] = [
  {
    kind: 'a mount in use that somebody took away',
    about: /mount .*somebody else has unmounted it/,
    make: async (name) => {
      const volume = await inUse(name);
      await run('/bin/umount', [volume.mountpoint]);
      return { after: () => volume.disconnect(ALICE, '--disk', 'a b') };
    },
  },
  {
    kind: 'a dead mount in use',
    about: /last looked at it was stale/,
    make: async (name) => {
      const volume = await inUse(name);
      for (const pid of volume.clients()) process.kill(pid, 'SIGKILL');
      await until('its client is gone', () => volume.clients().length === 0);
      expect((await volume.validate()).verdict).toBe('stale');
      return { after: () => volume.disconnect(ALICE, '--disk', 'a b') };
    },
  },
  {
    kind: 'a dead mount that was replaced, and a process on it',
    about: /still hold the dead mount/,
    make: async (name) => {
      const volume = await inUse(name);
      const holder = spawn('/bin/sleep', ['1000'], { cwd: volume.mountpoint });
      for (const pid of volume.clients()) process.kill(pid, 'SIGKILL');
      await until('its client is gone', () => volume.clients().length === 0);
      await volume.connect(ALICE, '--disk', 'a b', '--read-only');
      return {
        byOthers: async () => {
          const ended = new Promise((resolve) => holder.once('exit', resolve));
          holder.kill();
          await ended;
        },
        after: () => volume.disconnect(ALICE, '--disk', 'a b'),
      };
    },
  },
  {
    kind: 'a mount that hangs, that nobody is attached to, and whose server never comes back',
    about: /last looked at it was hung/,
    make: async (name) => {
      const volume = await inUse(name);
      await host.sandbox('fault', name, 'hang-unanswered');
      expect((await volume.validate()).verdict).toBe('hung');
      await volume.disconnect(ALICE, '--disk', 'a b');
      return { after: () => host.sandbox('heal', name) };
    },
  },
  {
    kind: 'a volume that is released and that a process holds',
    about: /it cannot be unmounted yet/,
    make: async (name) => {
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      writeFileSync(volume.at('f'), '');
      const open = openSync(volume.at('f'), 'r');
      expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'busy' });
      const [finding] = await findings(/it cannot be unmounted yet/);
      expect(finding?.message).toContain(`pid ${process.pid}, descriptor`);
      expect((await host.fairlead(['ls'])).stdout).toContain(`pid ${process.pid}, descriptor`);
      return { byOthers: () => closeSync(open) };
    },
  },
  {
    kind: 'a volume that is released and has a mount inside',
    about: /it cannot be unmounted yet/,
    make: async (name) => {
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      mkdirSync(volume.at('sub'));
      await run('/bin/mount', ['-t', 'tmpfs', 'nested', volume.at('sub')]);
      expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'busy' });
      expect((await findings(/it cannot be unmounted yet/))[0]?.message).toContain(volume.at('sub'));
      return { byOthers: () => run('/bin/umount', [volume.at('sub')]) };
    },
  },
  {
    kind: 'a mount below a base that is at no leaf',
    about: /foreign mount/,
    make: async (name) => {
      const path = join(host.quobyteBase, name);
      mkdirSync(path);
      await run('/bin/mount', ['-t', 'tmpfs', 'stranger', path]);
      expect(JSON.stringify(await findings(/foreign mount/))).toContain(path);
      return { byOthers: () => run('/bin/umount', [path]) };
    },
  },
  {
    kind: 'a mount inside a volume in use',
    about: /foreign mount/,
    make: async (name) => {
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      mkdirSync(volume.at('sub'));
      await run('/bin/mount', ['-t', 'tmpfs', 'nested', volume.at('sub')]);
      expect(JSON.stringify(await findings(/foreign mount/))).toContain(volume.at('sub'));
      return { byOthers: () => run('/bin/umount', [volume.at('sub')]), after: () => volume.disconnect(ALICE) };
    },
  },
  {
    kind: 'a mount at a leaf that is not ours',
    about: /not ours, or that cannot be named/,
    make: async (name) => {
      const path = join(host.quobyteBase, leafOf(name));
      mkdirSync(path);
      await run('/bin/mount', ['-t', 'tmpfs', 'stranger', path]);
      await until('it is seen', async () => (await findings(/not ours, or that cannot be named/)).length > 0);
      return {
        byOthers: () => run('/bin/umount', [path]),
        after: () => rmSync(path, { recursive: true, force: true }),
      };
    },
  },
  {
    kind: 'a mount over a volume in use',
    about: /mounted over it while it is in use/,
    make: async (name) => {
      const volume = await inUse(name);
      await run('/bin/mount', ['-t', 'tmpfs', 'stranger', volume.mountpoint]);
      await until('it is seen', async () => (await findings(/mounted over it/)).length > 0);
      return {
        byOthers: () => run('/bin/umount', [volume.mountpoint]),
        after: () => volume.disconnect(ALICE, '--disk', 'a b'),
      };
    },
  },
  {
    kind: 'a mount without a record, of an earlier agent',
    about: /kept by a hold/,
    make: async (name) => {
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      await host.down();
      rmSync(join(host.dir, 'fairlead/state'), { recursive: true });
      rmSync(join(host.dir, 'fairlead/run'), { recursive: true });
      await host.up();
      return {};
    },
  },
  {
    kind: 'a ledger that could not be trusted, and a mount that it forgot',
    about: /ledger|kept by a hold/,
    make: async (name) => {
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      await host.down();
      rmSync(join(host.dir, 'fairlead/state'), { recursive: true });
      await host.up();
      expect((await findings(/ledger/)).length).toBe(1);
      return {};
    },
  },
  {
    kind: 'a directory with something in it at a leaf',
    about: /occupied leaf/,
    make: (name) => {
      mkdirSync(join(host.quobyteBase, leafOf(name), 'something'), { recursive: true });
      return Promise.resolve({});
    },
  },
  {
    kind: 'a link at a leaf',
    about: /occupied leaf/,
    make: (name) => {
      symlinkSync('/tmp', join(host.quobyteBase, leafOf(name)));
      return Promise.resolve({});
    },
  },
  {
    kind: 'a mount base that is gone',
    about: /mount base of local: .*does not exist/,
    make: () => {
      rmSync(host.localBase, { recursive: true });
      return Promise.resolve({});
    },
  },
  {
    kind: 'a mount base of another user',
    about: /mount base of local: .*another user/,
    make: () => {
      chownSync(host.localBase, 1234, 0);
      return Promise.resolve({});
    },
  },
  {
    kind: 'a mount base that others may write to',
    about: /mount base of local: .*written by others/,
    make: () => {
      chmodSync(host.localBase, 0o777);
      return Promise.resolve({});
    },
  },
  {
    kind: 'a mount base that not everybody may search',
    about: /mount base of local: .*searched by everybody/,
    make: () => {
      chmodSync(host.localBase, 0o700);
      return Promise.resolve({});
    },
  },
  {
    kind: 'a mount helper that others may write to',
    about: /mount helper: .*written by others/,
    make: () => {
      chmodSync(join(host.dir, 'bin/mount.quobyte'), 0o777);
      return Promise.resolve({});
    },
  },
  {
    kind: 'a broker that is stopped',
    about: /broker: .*does not answer/,
    make: () => {
      process.kill(host.pid('broker') ?? 0, 'SIGSTOP');
      return Promise.resolve({});
    },
  },
  {
    kind: 'a state directory that was moved away',
    about: /state_dir/,
    make: async (name) => {
      const state = join(host.dir, 'fairlead/state');
      const volume = await VolumeInUse.served(host, name);
      await volume.connect(ALICE);
      renameSync(state, `${state}.away`);
      // Nothing is taken for done in a directory that the next start does not find.
      const refusal = { error: { code: 'unavailable', field: 'state_dir' } };
      expect(await volume.connect('cli:bob')).toMatchObject(refusal);
      expect(await volume.disconnect(ALICE)).toMatchObject(refusal);
      expect(volume.mounts()).toBe(1);
      await until('it is missed', async () => (await findings(/state_dir/)).length > 0);
      expect((await findings(/state_dir/))[0]?.message).toContain('put it back');
      expect((await host.fairlead(['ls'])).stdout).toContain('put it back');
      return {
        byOthers: () => renameSync(`${state}.away`, state),
        after: async () => expect((await volume.disconnect(ALICE)).body).toMatchObject({ outcome: 'released' }),
      };
    },
  },
];

describe('what doctor advises ends what it found:', () => {
  let made = 0;
  let name: string;
  beforeEach(() => {
    name = `d0c${(made += 1)}`;
  });

  it.each(KINDS)('$kind', async ({ about, make }) => {
    await until('what was before is over', async () => (await findings(about)).length === 0, SOON_MS);
    const { byOthers, after } = await make(name);
    try {
      const found = await until('doctor finds it', async () => {
        const all = await findings(about);
        return all.length > 0 && all;
      });
      for (const finding of found) {
        const advice = adviceOf(finding);
        // Of a path that is no mount, fuser names whoever uses the filesystem beneath.
        expect(advice).not.toMatch(/fuser (?!-vmM )/);
        // What is said of a doubted ledger is over with the last hold.
        if (finding.subject === 'ledger') continue;
        if (byOthers === undefined) await follow(advice);
        else expect(commandsIn(advice)).toEqual([]);
      }
      await byOthers?.();
      await until('nothing is found any more', async () => (await findings(about)).length === 0, SOON_MS);
    } finally {
      await after?.();
    }
  });
});
