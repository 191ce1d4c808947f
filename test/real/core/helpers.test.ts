// Mount helpers on their bad days. Whatever they do, connect tells the truth, nothing is left behind, and no request is
// later than its deadline.

import {
  chmodSync,
  chownSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { alive, Host, leafOfUrl, type Answer } from '../../rig/host.js';
import { until } from '../../rig/until.js';

const ALICE = 'cli:alice';
/** Milliseconds for a helper that mounts 6 s after its start, and for what undoes that. */
const LATE_END_MS = 30_000;

let host: Host;
beforeAll(async () => {
  host = await Host.boot({ configure: (toml) => toml.replace(/mount_timeout = .*/, 'mount_timeout = "3s"') });
});
afterAll(() => host.shutDown());
afterEach(() => {
  expect(host.mounts()).toEqual([]);
  expect(readdirSync(host.quobyteBase)).toEqual([]);
});

const connect = (url: string, ...more: string[]): Promise<Answer> =>
  host.ask('connect', url, '--consumer', ALICE, ...more);
const disconnect = (url: string): Promise<Answer> => host.ask('disconnect', url, '--consumer', ALICE);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;
const helper = (): string => join(host.dir, 'bin/mount.quobyte');

/** Processes of helpers that are alive, by their command line. */
function helperProcesses(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && alive(Number(name)))
    .filter((name) => commandLine(name).includes(helper()))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}

async function failing(kind: string, ...more: string[]): Promise<readonly [string, Answer]> {
  const name = `v-${kind}-${Math.random().toString(36).slice(2, 8)}`;
  const url = await host.volume(name);
  await host.sandbox('fault', name, kind, ...more);
  const answer = await connect(url);
  await host.sandbox('heal', name);
  return [url, answer];
}

describe('a helper that', () => {
  it('fails, in any language, is helper-failed; what it said is bounded, redacted, and not the message', async () => {
    const [url, answer] = await failing(
      'helper-fails',
      '32',
      'mount.quobyte: Einhängen fehlgeschlagen, password=hunter2',
    );
    expect(answer).toMatchObject({ status: 12, error: { code: 'helper-failed', leaf: leafOfUrl(url) } });
    expect(JSON.stringify(answer.body)).not.toContain('hunter2');
    expect(answer.error?.message).not.toContain('Einhängen');
    expect(answer.error?.helperOutput).toBe('1 line withheld; --show-helper-output as root shows it');
    expect(mountsAt(url)).toBe(0);
  });

  it('fails: root, and nobody else, is shown all that it said on demand', async () => {
    const name = 'v-all-said';
    const url = await host.volume(name);
    await host.sandbox('fault', name, 'helper-fails', '32', 'logged in with phrase hunter2');
    const plain = await connect(url);
    expect(plain.error?.helperOutput).toBe('1 line withheld; --show-helper-output as root shows it');
    const all = await connect(url, '--show-helper-output');
    expect(all).toMatchObject({ status: 12, error: { code: 'helper-failed', leaf: leafOfUrl(url) } });
    expect(all.error?.helperOutput).toContain('logged in with phrase hunter2');
    await host.sandbox('heal', name);
  });

  it('ends with success and mounts nothing fails the connect', async () => {
    const [, answer] = await failing('helper-noop');
    expect(answer.status).not.toBe(0);
    expect(['helper-failed', 'deadline-exceeded', 'unhealthy']).toContain(answer.error?.code);
  });

  it('mounts the wrong volume is found out, and its mount is taken away again', async () => {
    await host.volume('other');
    const [url, answer] = await failing('helper-wrong-volume', 'other');
    expect(['helper-failed', 'foreign']).toContain(answer.error?.code);
    expect(mountsAt(url)).toBe(0);
  });

  it('mounts late is waited for', async () => {
    const name = 'late';
    const url = await host.volume(name);
    await host.sandbox('fault', name, 'helper-late', '400');
    expect(await connect(url)).toMatchObject({ status: 0, body: { verdict: 'healthy' } });
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });

  // Where another mount namespace mounts a filesystem of this kind meanwhile, the helper cannot be told from its client. It
  // is not ended then, and what it mounts goes away again.
  it('mounts too late leaves no mount, not even afterwards', async () => {
    const [url, answer] = await failing('helper-late', '6000');
    expect(answer.status).not.toBe(0);
    await until(
      'nothing that could mount is left, and no mount, and no leaf',
      () => helperProcesses().length === 0 && mountsAt(url) === 0 && readdirSync(host.quobyteBase).length === 0,
      LATE_END_MS,
    );
  });

  it('never ends is killed at its deadline, with all its processes', async () => {
    const begun = performance.now();
    const [url, answer] = await failing('helper-hangs');
    expect(performance.now() - begun).toBeLessThan(6000);
    expect(['deadline-exceeded', 'helper-failed']).toContain(answer.error?.code);
    await until('no helper is left', () => helperProcesses().length === 0);
    expect((await connect(url)).status).toBe(0);
    await disconnect(url);
  });

  it('writes a gigabyte neither fills a disk nor blocks', async () => {
    const [url, answer] = await failing('helper-floods', String(1024 ** 3));
    expect(JSON.stringify(answer.body).length).toBeLessThan(100_000);
    if (answer.status === 0) expect((await disconnect(url)).body['outcome']).toBe('released');
    await until('no helper is left', () => helperProcesses().length === 0);
  });

  it('daemonises and keeps its output open does not keep the connect', async () => {
    const name = 'daemon';
    const url = await host.volume(name);
    await host.sandbox('fault', name, 'own-server');
    const begun = performance.now();
    expect(await connect(url)).toMatchObject({ status: 0 });
    expect(performance.now() - begun).toBeLessThan(3000);
    await host.crash();
    writeFileSync(join(host.quobyteBase, leafOfUrl(url), 'still'), 'here');
    await host.up();
    expect((await disconnect(url)).body['outcome']).toBe('released');
  });
});

describe('a helper that is', () => {
  afterEach(() => {
    rmSync(helper(), { force: true });
    renameSync(`${helper()}.sound`, helper());
  });

  const spoil = (how: (path: string) => void): void => {
    renameSync(helper(), `${helper()}.sound`);
    how(helper());
  };

  it.each([
    ['missing', () => undefined],
    [
      'not executable',
      (path: string) => {
        copyFileSync(`${path}.sound`, path);
        chmodSync(path, 0o644);
      },
    ],
    [
      'owned by somebody else',
      (path: string) => {
        copyFileSync(`${path}.sound`, path);
        chmodSync(path, 0o755);
        chownSync(path, 1234, 1234);
      },
    ],
    [
      'writable by others',
      (path: string) => {
        copyFileSync(`${path}.sound`, path);
        chmodSync(path, 0o777);
      },
    ],
    [
      'a link out of the trusted directories',
      (path: string) => {
        copyFileSync(`${path}.sound`, join(host.dir, 'elsewhere'));
        chmodSync(join(host.dir, 'elsewhere'), 0o755);
        symlinkSync(join(host.dir, 'elsewhere'), path);
      },
    ],
  ])('%s is never started', async (_, how) => {
    spoil(how);
    const url = await host.volume(`u-${Math.random().toString(36).slice(2, 8)}`);
    expect(await connect(url)).toMatchObject({ status: 13, error: { code: 'helper-untrusted', leaf: leafOfUrl(url) } });
  });
});

it('helpers see a fixed environment and nothing of ours', async () => {
  const url = await host.volume('clean');
  const seen = join(host.dir, 'seen');
  renameSync(helper(), `${helper()}.sound`);
  writeFileSync(helper(), `#!/bin/sh\n{ env; pwd; id -u; } > ${seen}\nexec ${helper()}.sound "$@"\n`, { mode: 0o755 });
  chmodSync(helper(), 0o755);
  try {
    await host.down();
    await host.up({ LD_PRELOAD: '/nonexistent.so', NODE_OPTIONS: '', LC_ALL: 'de_DE', SECRET: 'hunter2' });
    await connect(url);
    const lines = readFileSync(seen, 'utf8').trim().split('\n');
    expect(lines).toContain('LC_ALL=C');
    expect(lines.filter((line) => line.includes('='))).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(LD_PRELOAD|SECRET|HOME|USER)=/)]),
    );
    expect(lines.slice(-2)).toEqual(['/', '0']);
  } finally {
    await disconnect(url);
    renameSync(`${helper()}.sound`, helper());
  }
});
