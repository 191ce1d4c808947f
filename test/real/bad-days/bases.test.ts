// Mount bases that are missing or unsound. `fairlead up` makes what is missing, and refuses to start on what somebody else
// could change, with the command that mends it. Running that command is enough.

import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../rig/host.js';
import { STRANGER } from '../../rig/identity.js';
import { run } from '../../rig/programs.js';

let host: Host;
beforeAll(async () => {
  host = await Host.prepare();
});
afterAll(() => host.shutDown());
afterEach(async () => {
  await host.down();
  rmSync(host.quobyteBase, { recursive: true, force: true });
});

const starting = () => host.fairlead(['up', '--config', host.configFile, '--json'], { deadlineMs: 20_000 });
const mendIn = (message: string, command: RegExp): string => {
  const [found] = command.exec(message) ?? [];
  if (found === undefined) throw new Error(`no ${String(command)} in: ${message}`);
  return found;
};

it('a missing base is made root’s, 0711, and a file that lies there is not touched', async () => {
  await host.up();
  const { uid, gid, mode } = statSync(host.quobyteBase);
  expect([uid, gid, mode & 0o7777]).toEqual([0, 0, 0o711]);
  await host.down();
  rmSync(host.quobyteBase, { recursive: true });
  writeFileSync(host.quobyteBase, 'somebody’s');
  expect((await starting()).status).toBe(14);
  expect(statSync(host.quobyteBase).isFile()).toBe(true);
});

describe('a base that is', () => {
  const cases: readonly (readonly [string, () => void, RegExp])[] = [
    ['somebody else’s', () => chownSync(host.quobyteBase, STRANGER.uid, STRANGER.gid), /chown root \S+/],
    ['writable by a group', () => chmodSync(host.quobyteBase, 0o775), /chmod go-w \S+/],
    ['writable by everybody', () => chmodSync(host.quobyteBase, 0o777), /chmod go-w \S+/],
    ['writable by everybody, though sticky', () => chmodSync(host.quobyteBase, 0o1777), /chmod go-w \S+/],
    ['closed to the users of its volumes', () => chmodSync(host.quobyteBase, 0o700), /chmod 0711 \S+/],
  ];
  it.each(cases)('%s stops the start; the command in the message mends it', async (_, spoil, command) => {
    mkdirSync(host.quobyteBase, { mode: 0o711 });
    spoil();
    const refused = await starting();
    const { error } = JSON.parse(refused.stdout) as { error: { code: string; message: string; field: string } };
    expect([refused.status, error.code, error.field]).toEqual([14, 'config-invalid', 'backend.quobyte.mount_base']);
    const mend = mendIn(error.message, command);
    expect((await run('/bin/sh', ['-c', mend])).status).toBe(0);
    await host.up();
  });

  it('below a directory that somebody else may change stops the start', async () => {
    const parent = join(host.dir, 'fairlead/mnt');
    chmodSync(parent, 0o777);
    const refused = await starting();
    expect(refused.status).toBe(14);
    expect(mendIn(refused.stdout, /chmod go-w [^"\s\\]+/)).toBe(`chmod go-w ${parent}`);
    chmodSync(parent, 0o755);
    lchownSync(parent, STRANGER.uid, STRANGER.gid);
    expect((await starting()).status).toBe(14);
    lchownSync(parent, 0, 0);
  });

  it('reached through a link stops the start, and nothing is made behind the link', async () => {
    const parent = join(host.dir, 'fairlead/mnt');
    const real = join(host.dir, 'fairlead/real');
    renameSync(parent, real);
    symlinkSync(real, parent);
    try {
      const refused = await starting();
      expect(refused.status).toBe(14);
      expect(refused.stdout).toContain('link');
      expect(() => statSync(join(real, 'quobyte'))).toThrow(/ENOENT/);
    } finally {
      rmSync(parent);
      renameSync(real, parent);
    }
  });
});

it('a base that becomes unsound while we run is refused at the next connect, and disconnect still works after the mend', async () => {
  await host.up();
  const url = await host.volume('later');
  const other = await host.volume('later-still');
  expect((await host.ask('connect', url, '--consumer', 'cli:alice')).status).toBe(0);
  chmodSync(host.quobyteBase, 0o777);
  const refused = await host.ask('connect', other, '--consumer', 'cli:alice');
  expect(refused).toMatchObject({ status: 4, error: { code: 'permission-denied' } });
  expect(host.mounts()).toHaveLength(1);
  expect((await run('/bin/sh', ['-c', mendIn(refused.error?.message ?? '', /chmod go-w \S+/)])).status).toBe(0);
  expect((await host.ask('connect', other, '--consumer', 'cli:alice')).status).toBe(0);
  for (const volume of [url, other]) {
    expect((await host.ask('disconnect', volume, '--consumer', 'cli:alice')).body['outcome']).toBe('released');
  }
});
