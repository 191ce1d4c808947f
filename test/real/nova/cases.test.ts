// The test cases of the original driver, held against Fairlead through its door for Nova: real helpers, real mounts, the kernel's own
// table. What differs on purpose stands in docs/nova-deviations.md, whose table this file reads.

import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client, type HttpAnswer } from '../../rig/client.js';
import { Host, leafOfUrl, WITHOUT_LIBVIRT } from '../../rig/host.js';
import { deviationsOf } from '../../rig/nova/deviations.js';
import { ROOT, run } from '../../rig/programs.js';
import { until } from '../../rig/until.js';

const INSTANCE = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const OTHER = '00000000-0000-4000-8000-000000000001';
const DISK = 'volume-00000001';

let host: Host;
let client: Client;
beforeAll(async () => {
  host = await logging();
  client = new Client(host.socket);
});
afterAll(async () => {
  client.close();
  await host.shutDown();
});
afterEach(async () => {
  await until('everything is released', () => host.mounts().length === 0, 30_000);
});

/** A host whose helpers write down how they are called, and then do their work. */
async function logging(configure: (toml: string) => string = (toml) => toml): Promise<Host> {
  const made = await Host.prepare(WITHOUT_LIBVIRT);
  const bin = join(made.dir, 'bin');
  const toml = readFileSync(made.configFile, 'utf8');
  writeFileSync(
    made.configFile,
    configure(
      toml
        .replace('bin/mount.quobyte', 'bin/mount.logged')
        .replace('unmount_helper = ""', `unmount_helper = "${bin}/umount.logged"`),
    ),
  );
  script(made, 'mount.logged', `exec ${bin}/mount.quobyte "$@"`);
  script(made, 'umount.logged', 'exec /bin/umount "$@"');
  await made.up();
  return made;
}

function script(on: Host, name: string, text: string): void {
  const path = join(on.dir, 'bin', name);
  writeFileSync(path, `#!/bin/sh\necho "$@" >> ${on.dir}/${name}.log\n${text}\n`);
  chmodSync(path, 0o755);
}

/** The calls of a helper about this volume, each with its arguments. */
function calls(on: Host, name: 'mount.logged' | 'umount.logged', url: string): readonly string[][] {
  const log = join(on.dir, `${name}.log`);
  if (!existsSync(log)) return [];
  const lines = readFileSync(log, 'utf8').split('\n');
  return lines.filter((line) => line.includes(leafOfUrl(url))).map((line) => line.split(' '));
}

const exportOf = (url: string): string => url.replace('quobyte://', '');
const leafDirectory = (url: string, on = host): string => join(on.quobyteBase, leafOfUrl(url));
const mountsAt = (url: string) => host.mounts().filter(({ mountPoint }) => mountPoint === leafDirectory(url));
const errorOf = ({ body }: HttpAnswer) => body['error'] as { readonly message: string; readonly helperOutput?: string };

function info(url: string, data: object = {}): object {
  return { driver_volume_type: 'quobyte', data: { export: url, name: DISK, ...data }, serial: OTHER };
}
function connect(url: string, instance = INSTANCE, by = client): Promise<HttpAnswer> {
  return by.ask('POST', '/v1/nova/connect', { connectionInfo: info(url), instance });
}
function disconnect(url: string, instance = INSTANCE): Promise<HttpAnswer> {
  return client.ask('POST', '/v1/nova/disconnect', { connectionInfo: info(url), instance });
}
function validate(url: string, by = client): Promise<HttpAnswer> {
  return by.ask('POST', '/v1/validate', { url });
}
async function driverOf(url: string, data: object = {}): Promise<unknown> {
  const diskInfo = { dev: 'vdb', bus: 'virtio', type: 'disk' };
  const body = { connectionInfo: info(url, data), diskInfo };
  return (await client.ask('POST', '/v1/nova/disk-config', body)).body;
}

/** As the original driver mounts: by the helper, and nobody else knows. */
async function mountedByHand(url: string, at: string): Promise<void> {
  const { status } = await run(join(host.dir, 'bin/mount.quobyte'), ['--disable-xattrs', exportOf(url), at]);
  expect(status).toBe(0);
}

/** What each line of the table is held to, by its number. */
const CASES: Readonly<Record<number, () => Promise<void>>> = {
  4: async () => {
    const url = await host.volume('v4');
    expect((await connect(url)).status).toBe(200);
    const own = ['--disable-xattrs', exportOf(url), leafDirectory(url)];
    expect(calls(host, 'mount.logged', url)).toEqual([own]);
    await disconnect(url);
    await using configured = await logging((toml) => {
      const config = /^state_dir = "(.*)\/fairlead\/state"$/m.exec(toml)?.[1] ?? '';
      writeFileSync(join(config, 'bin/client.cfg'), '', { mode: 0o644 });
      return toml.replace('client_config = ""', `client_config = "${config}/bin/client.cfg"`);
    });
    const other = await configured.volume('v4c');
    const by = new Client(configured.socket);
    expect((await connect(other, INSTANCE, by)).status).toBe(200);
    by.close();
    expect(calls(configured, 'mount.logged', other)).toEqual([
      ['--disable-xattrs', exportOf(other), leafDirectory(other, configured), '-c', `${configured.dir}/bin/client.cfg`],
    ]);
  },
  6: async () => {
    const url = await host.volume('v6');
    await host.sandbox('fault', 'v6', 'helper-fails', '1', 'no', 'such', 'volume');
    const refused = await connect(url);
    expect([refused.status, refused.code]).toEqual([502, 'helper-failed']);
    expect(errorOf(refused).helperOutput).toContain('no such volume');
    expect(existsSync(leafDirectory(url))).toBe(false);
    expect((await disconnect(url)).body['outcome']).toBe('not-connected');
  },
  7: async () => {
    const url = await host.volume('v7');
    await connect(url);
    expect((await disconnect(url)).body).toMatchObject({ outcome: 'released', mounted: false });
    expect(calls(host, 'umount.logged', url)).toEqual([[leafDirectory(url)]]);
    expect(existsSync(leafDirectory(url))).toBe(false);
  },
  8: async () => {
    await using direct = await Host.boot();
    const url = await direct.volume('v8');
    const by = new Client(direct.socket);
    expect((await connect(url, INSTANCE, by)).status).toBe(200);
    // The agent, who was asked, may not unmount anything.
    expect(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${direct.pid('agent')}/status`, 'utf8'))?.[1]).not.toBe('0');
    const ended = await by.ask('POST', '/v1/nova/disconnect', { connectionInfo: info(url), instance: INSTANCE });
    by.close();
    expect(ended.body['outcome']).toBe('released');
    expect(direct.mounts()).toEqual([]);
  },
  9: async () => {
    const url = await host.volume('v9');
    const { body } = await connect(url);
    const descriptor = openSync(String(body['mountpoint']), 'r');
    const busy = await disconnect(url);
    expect([busy.status, busy.body]).toMatchObject([
      200,
      { outcome: 'busy', mounted: true, holders: [{ pid: process.pid, by: 'descriptor' }] },
    ]);
    expect(mountsAt(url)).toHaveLength(1);
    closeSync(descriptor);
  },
  10: async () => {
    const url = await host.volume('v10');
    await connect(url);
    script(host, 'umount.logged', 'echo "cannot" >&2; exit 1');
    const failed = await disconnect(url);
    script(host, 'umount.logged', 'exec /bin/umount "$@"');
    expect([failed.status, failed.body['mounted']]).toEqual([200, true]);
  },
  11: async () => {
    const url = await host.volume('v11', 'reg2:7861,reg1:7861');
    await connect(url);
    expect(mountsAt(url)).toMatchObject([{ source: 'quobyte@reg2:7861|reg1:7861/v11', fsType: 'fuse.quobyte' }]);
    expect((await validate(url)).body['verdict']).toBe('healthy');
    await disconnect(url);
  },
  12: async () => {
    const url = await host.volume('v12');
    const other = await host.volume('v12-other');
    mkdirSync(leafDirectory(url), { mode: 0o700 });
    await mountedByHand(other, leafDirectory(url));
    const refused = await connect(url);
    expect([refused.status, refused.code]).toEqual([409, 'foreign']);
    const [seen] = mountsAt(url);
    expect([seen?.fsType, seen?.source]).toEqual(['fuse.quobyte', 'quobyte@reg1:7861|reg2:7861/v12-other']);
    expect((await run('/bin/umount', [leafDirectory(url)])).status).toBe(0);
    await host.sandbox('fault', 'v12', 'helper-wrong-volume', 'v12-other');
    expect((await connect(url)).code).toBe('helper-failed');
    expect(mountsAt(url)).toEqual([]);
  },
  13: async () => {
    const url = await host.volume('v13');
    await connect(url);
    for (const [errno, verdict] of [
      ['EIO', 'stale'],
      ['EACCES', 'denied'],
    ] as const) {
      await host.sandbox('fault', 'v13', 'errno', errno);
      expect((await validate(url)).body['verdict']).toBe(verdict);
      expect((await connect(url, OTHER)).code).toBe('unhealthy');
      await host.sandbox('heal', 'v13');
    }
    await disconnect(url);
  },
  14: async () => {
    const url = await host.volume('v14');
    const { body } = await validate(url);
    expect(body).toMatchObject({ verdict: 'absent', leaf: leafOfUrl(url) });
    expect((await connect(url)).body['verdict']).toBe('healthy');
    await disconnect(url);
  },
  15: async () => {
    const url = await host.volume('v15');
    mkdirSync(leafDirectory(url), { mode: 0o700 });
    expect((await run('/bin/mount', ['-t', 'tmpfs', 'none', leafDirectory(url)])).status).toBe(0);
    const refused = await connect(url);
    expect([refused.status, refused.code]).toEqual([409, 'foreign']);
    expect(errorOf(refused).message).not.toContain('v15');
    expect(mountsAt(url)).toMatchObject([{ fsType: 'tmpfs' }]);
    expect(calls(host, 'mount.logged', url)).toEqual([]);
    expect((await run('/bin/umount', [leafDirectory(url)])).status).toBe(0);
  },
  16: async () => {
    const url = await host.volume('v16');
    await host.sandbox('fault', 'v16', 'root-size', '1');
    expect((await connect(url)).body['verdict']).toBe('healthy');
    expect((await validate(url)).body['reason']).toMatch(/size/);
    await disconnect(url);
    await using strict = await Host.boot({
      configure: (toml) => toml.replace('probe_timeout = "5s"', 'probe_timeout = "5s"\nroot_size = "require"'),
    });
    const other = await strict.volume('v16s');
    await strict.sandbox('fault', 'v16s', 'root-size', '1');
    const by = new Client(strict.socket);
    expect((await connect(other, INSTANCE, by)).code).toBe('unhealthy');
    by.close();
    expect(strict.mounts()).toEqual([]);
  },
  17: async () => {
    const url = await host.volume('v17');
    await connect(url);
    await host.sandbox('fault', 'v17', 'server-dies');
    await until('the mount is dead', async () => (await validate(url)).body['verdict'] === 'stale');
    const again = await connect(url);
    expect(again.body).toMatchObject({ verdict: 'healthy', path: join(leafDirectory(url), DISK), changed: true });
    expect(mountsAt(url)).toHaveLength(1);
    expect(calls(host, 'mount.logged', url)).toHaveLength(2);
    await disconnect(url);
  },
  18: async () => {
    const url = await host.volume('v18');
    mkdirSync(leafDirectory(url), { mode: 0o700 });
    await mountedByHand(url, leafDirectory(url));
    expect((await connect(url)).body['verdict']).toBe('healthy');
    expect(calls(host, 'mount.logged', url)).toEqual([]);
    expect((await disconnect(url)).body).toMatchObject({ outcome: 'still-used', usedBy: ['hold:inherited'] });
    expect(mountsAt(url)).toHaveLength(1);
    expect((await client.ask('DELETE', `/v1/mounts/${leafOfUrl(url)}/hold`)).body).toEqual({ lifted: true });
    await until('it is released', () => mountsAt(url).length === 0);
    expect(calls(host, 'umount.logged', url)).toEqual([[leafDirectory(url)]]);
  },
  19: async () => {
    const url = await host.volume('v19');
    const first = await connect(url);
    const second = await connect(url, OTHER);
    expect(second.body).toMatchObject({ path: first.body['path'], verdict: 'healthy' });
    expect((await connect(url, OTHER)).body).toMatchObject({ changed: false, attachment: second.body['attachment'] });
    expect(calls(host, 'mount.logged', url)).toHaveLength(1);
    expect(await driverOf(url)).toMatchObject({
      path: first.body['path'],
      driver: { name: 'qemu', type: 'raw', cache: 'none', io: 'native' },
    });
    expect((await disconnect(url)).body).toMatchObject({ outcome: 'still-used', usedBy: [`nova:${OTHER}`] });
    expect(calls(host, 'umount.logged', url)).toEqual([]);
    expect((await disconnect(url, OTHER)).body['outcome']).toBe('released');
    expect(calls(host, 'umount.logged', url)).toHaveLength(1);
  },
  20: async () => {
    const url = await host.volume('v20');
    expect(await driverOf(url, { format: 'qcow2' })).toMatchObject({ driver: { type: 'qcow2' } });
    expect(calls(host, 'mount.logged', url)).toEqual([]);
  },
  21: async () => {
    const url = await host.volume('v21');
    await host.sandbox('fault', 'v21', 'helper-noop');
    const refused = await connect(url);
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect((await disconnect(url)).body['outcome']).toBe('not-connected');
    await host.sandbox('heal', 'v21');
  },
  22: async () => {
    const url = await host.volume('v22');
    const { body } = await connect(url);
    expect(mountsAt(url)).toHaveLength(1);
    expect(body['leaf']).toBe(leafOfUrl(exportOf(url)));
    expect(calls(host, 'mount.logged', url)[0]?.[1]).toBe(exportOf(url));
    await disconnect(url);
  },
  23: async () => {
    const url = await host.volume('v23');
    const first = await connect(exportOf(url));
    expect((await connect(url)).body).toMatchObject({ changed: false, attachment: first.body['attachment'] });
    expect(calls(host, 'mount.logged', url)[0]?.[1]).toBe(exportOf(url));
    expect((await disconnect(exportOf(url))).body['outcome']).toBe('released');
  },
};

const table = deviationsOf(readFileSync(join(ROOT, 'docs/nova-deviations.md'), 'utf8'), 'The tests of the original');
const here = 'test/real/nova/cases.test.ts';

it('every case of the original stands in the table, and is held by the test that its line names', () => {
  expect(table.map(({ name }) => Number(name))).toEqual(Array.from({ length: 23 }, (_, index) => index + 1));
  expect(table.reduce((sum, { cells }) => sum + Number(cells[0]), 0)).toBe(27);
  for (const { name, cells } of table) {
    const [, original = '', ours = '', test = ''] = cells;
    expect([original, ours]).not.toContain('');
    expect(existsSync(join(ROOT, test))).toBe(true);
    expect([name, name in CASES]).toEqual([name, test === here]);
  }
});

describe('the original driver’s case', () => {
  it.each(table.filter(({ cells }) => cells.at(-1) === here).map(({ name, cells }) => [name, cells[1]] as const))(
    '%s: %s',
    async (number) => {
      await CASES[Number(number)]?.();
    },
  );
});
