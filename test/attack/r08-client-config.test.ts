// R8: the client configuration that the helper reads as root. It is looked at again before every mount, and what somebody
// else could have written is never handed over.

import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Host, type Answer } from '../rig/host.js';
import { run } from '../rig/programs.js';

let host: Host;
let directory: string;
let config: string;
let started: string;

beforeAll(async () => {
  host = await Host.prepare({
    configure: (toml) => toml.replace(/client_config = .*/, `client_config = "@DIR@/client/quobyte.cfg"`),
  });
  directory = join(host.dir, 'client');
  config = join(directory, 'quobyte.cfg');
  writeFileSync(host.configFile, readFileSync(host.configFile, 'utf8').replace('@DIR@', host.dir));
  mkdirSync(directory, { mode: 0o755 });
  writeFileSync(config, 'secret of the client', { mode: 0o600 });
  // Every start of a helper leaves its arguments behind.
  started = join(host.dir, 'started');
  const helper = join(host.dir, 'bin/mount.quobyte');
  renameSync(helper, `${helper}.real`);
  // The stand-in knows no -c before its operands' end; its own parser takes it.
  writeFileSync(helper, `#!/bin/sh\nprintf '%s\\n' "$@" > ${started}\nexec ${helper}.real "$@"\n`, { mode: 0o755 });
  chmodSync(helper, 0o755);
  await host.up();
});
afterAll(() => host.shutDown());
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { mode: 0o755 });
  writeFileSync(config, 'secret of the client', { mode: 0o600 });
  rmSync(started, { force: true });
});

const connect = (url: string): Promise<Answer> => host.ask('connect', url, '--consumer', 'cli:alice');

it('a sound client configuration is handed over behind -c, and only there', async () => {
  const url = await host.volume('configured');
  expect((await connect(url)).status).toBe(0);
  const words = readFileSync(started, 'utf8').trim().split('\n');
  expect(words.slice(-2)).toEqual(['-c', config]);
  expect(words.filter((word) => word.startsWith('-'))).toEqual(['--disable-xattrs', '-c']);
  await host.ask('disconnect', url, '--consumer', 'cli:alice');
});

describe('a client configuration that has become', () => {
  it.each<readonly [string, () => unknown]>([
    ['writable by all', () => chmodSync(config, 0o666)],
    ['writable by its group', () => chmodSync(config, 0o660)],
    ['somebody else’s', () => chownSync(config, 1234, 1234)],
    [
      'a link',
      () => {
        renameSync(config, `${config}.moved`);
        symlinkSync(`${config}.moved`, config);
      },
    ],
    [
      'a FIFO',
      async () => {
        rmSync(config);
        await run('/usr/bin/mkfifo', ['-m', '0600', config]);
      },
    ],
    [
      'a directory',
      () => {
        rmSync(config);
        mkdirSync(config);
      },
    ],
    ['absent', () => rmSync(config)],
    ['exchangeable, in a directory that is writable by all', () => chmodSync(directory, 0o777)],
    ['exchangeable, in a directory of somebody else', () => chownSync(directory, 1234, 1234)],
  ])('%s is refused, and no helper is started', async (_, spoil) => {
    const url = await host.volume(`refused-${Math.random().toString(36).slice(2, 8)}`);
    await spoil();
    const answer = await connect(url);
    expect(answer).toMatchObject({ status: 13, error: { code: 'helper-untrusted', field: 'client_config' } });
    expect(JSON.stringify(answer.body)).not.toContain(config);
    expect([existsSync(started), host.mounts()]).toEqual([false, []]);
  });
});
