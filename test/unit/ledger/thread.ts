// The ledger with its real thread: client and worker are compiled into a directory of their own, as a release would
// have them, since Node runs a thread from JavaScript only.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach } from 'vitest';
import type * as Client from '../../../src/ledger/client.js';
import type { OpenLedger } from '../../../src/ledger/client.js';

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

/** A fresh state directory, removed after the test. */
export function stateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'));
  directories.push(directory);
  return directory;
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
  version = '0.1.0',
): Promise<T> {
  const thread = await client.startLedgerThread();
  const ledger = await thread.open({ directory, version });
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}
