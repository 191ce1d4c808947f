// R10 and R11 on real mounts: the outcome of a disconnect is what is true of the mount, whatever the unmount helper's
// status and words, and every failure of that helper is one error. The helper is a script that does what the test says.

import { chmodSync, closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Host, leafOfUrl, type Answer } from '../rig/host.js';
import { until } from '../rig/until.js';

const ALICE = 'cli:alice';

let host: Host;
beforeAll(async () => {
  host = await Host.prepare({
    configure: (toml) =>
      toml
        .replace('unmount_helper = ""', 'unmount_helper = "@BIN@/umount.odd"')
        .replace(/mount_timeout = .*/, 'mount_timeout = "2s"'),
  });
  const { configFile, dir } = host;
  writeFileSync(
    configFile,
    (await import('node:fs')).readFileSync(configFile, 'utf8').replace('@BIN@', join(dir, 'bin')),
  );
  helper('exec /bin/umount "$1"');
  await host.up();
});
afterAll(() => host.shutDown());
afterEach(async () => {
  helper('exec /bin/umount "$1"');
  await until('everything is released', () => host.mounts().length === 0, 30_000);
});

/** The unmount helper does this from now on; null: there is none. */
function helper(text: string | null): void {
  const path = join(host.dir, 'bin/umount.odd');
  if (text === null) {
    rmSync(path);
    return;
  }
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

const disconnect = (url: string): Promise<Answer> => host.ask('disconnect', url, '--consumer', ALICE);
const mountsAt = (url: string): number =>
  host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(leafOfUrl(url))).length;

async function connected(): Promise<readonly [url: string, path: string]> {
  const url = await host.volume(`u-${Math.random().toString(36).slice(2, 8)}`);
  const { status, body } = await host.ask('connect', url, '--consumer', ALICE);
  expect(status).toBe(0);
  return [url, String(body['path'])];
}

describe('a mount that is really busy', () => {
  it.each([
    ['echo "umount: $1: target is busy" >&2; exit 32'],
    ['echo "umount: $1: Device or resource busy" >&2; exit 16'],
    ['echo "umount: $1: Das Ziel wird gerade benutzt" >&2; exit 32'],
    ['exit 1'],
    ['exit 0'],
    ['exec /bin/umount "$1"'],
  ])('is busy where the helper does: %s', async (text) => {
    const [url, path] = await connected();
    const descriptor = openSync(path, 'r');
    try {
      helper(text);
      expect(await disconnect(url)).toMatchObject({ status: 0, body: { outcome: 'busy', mounted: true } });
      expect(mountsAt(url)).toBe(1);
    } finally {
      closeSync(descriptor);
    }
  });
});

describe('an idle mount', () => {
  it.each([
    ['says that it is busy', 'echo "target is busy" >&2; exit 32'],
    ['says nothing and fails', 'exit 1'],
    ['says nothing and reports success', 'exit 0'],
    ['dies by a signal', 'kill -SEGV $$'],
    ['does not end', 'exec sleep 1000'],
  ])('that the helper does not unmount (%s) is never called released', async (_, text) => {
    const [url] = await connected();
    helper(text);
    const begun = performance.now();
    const { body, error } = await disconnect(url);
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect([body['outcome'], error?.code]).not.toContain('released');
    expect(body['mounted'] ?? true).toBe(true);
    expect(mountsAt(url)).toBe(1);
  });

  it('is released though the helper fails, where it is gone', async () => {
    const [url] = await connected();
    helper('/bin/umount "$1"; echo "target is busy" >&2; exit 32');
    expect(await disconnect(url)).toMatchObject({ body: { outcome: 'released', mounted: false } });
    expect(await disconnect(url)).toMatchObject({ body: { outcome: 'not-connected', mounted: false } });
  });

  it('stays, and goes later by itself, where the helper is missing', async () => {
    const [url] = await connected();
    helper(null);
    await disconnect(url);
    expect(mountsAt(url)).toBe(1);
  });
});
