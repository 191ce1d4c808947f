// The ledger with its real thread: client and worker are compiled into a directory of their own, as a release would
// have them, since Node runs a thread from JavaScript only.

import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach } from 'vitest';
import type * as Client from '../../../src/ledger/client.js';
import type { OpenLedger, ThreadOptions } from '../../../src/ledger/client.js';
import { opening } from './samples.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const CACHE = join(ROOT, '.cache');

/** Compiles the ledger and, beside it, other entry points; returns the directory. Removed after the test file. */
export async function buildLedger(...entries: readonly string[]): Promise<string> {
  mkdirSync(CACHE, { recursive: true });
  // Inside the checkout, so that packages are found; open to every user, since one test gives up its own.
  const outdir = mkdtempSync(join(CACHE, 'ledger-'));
  builds.push(outdir);
  await build({
    entryPoints: [...['client', 'worker'].map((name) => join(ROOT, `src/ledger/${name}.ts`)), ...entries],
    entryNames: '[name]',
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  });
  return outdir;
}

const builds: string[] = [];
afterAll(() => {
  for (const directory of builds.splice(0)) rmSync(directory, { recursive: true });
});

/** The client in a directory that {@link buildLedger} made. */
export async function clientIn(directory: string): Promise<typeof Client> {
  return (await import(pathToFileURL(join(directory, 'client.js')).href)) as typeof Client;
}

/** A fresh state directory, with a run directory beside it; removed after the test. */
export function stateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'));
  directories.push(directory);
  // Others may pass: one test gives up its own user.
  chmodSync(directory, 0o711);
  for (const name of ['state', 'run']) mkdirSync(join(directory, name), { mode: 0o700 });
  return join(directory, 'state');
}

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Opens the ledger in `directory`, works with it, and closes it; the thread has ended then. */
export async function withLedger<T>(
  client: typeof Client,
  directory: string,
  work: (ledger: OpenLedger) => Promise<T>,
  options: Partial<ThreadOptions> = {},
): Promise<T> {
  const thread = await client.startLedgerThread();
  const ledger = await thread.open({ ...opening(directory), ...options });
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}
