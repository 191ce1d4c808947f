// A ledger whose process is killed at any moment, over and over: nothing that was acknowledged is lost.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../../src/ledger/sqlite.js';
import { attachment, ATTACHMENT, VOLUME, volumeOf } from '../../unit/ledger/samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from '../../unit/ledger/thread.js';

const ROUNDS = 20;
/** Acknowledgements after which a round's process is killed, at most. */
const MAX_ACKNOWLEDGED = 1500;
/** Starts that are killed in each state. */
const STARTS = 15;
/** Milliseconds within which such a start is killed: about as long as one takes. */
const START_MS = 60;

let built: string;
beforeAll(async () => {
  const entry = (name: string): string => fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  built = await buildLedger(entry('acknowledging'), entry('opening'));
});

/** What the killed processes said of each attachment, in the order of the marks: there, being ended, ended. */
type Said = Map<number, '+' | '?' | '-'>;

test(`what was acknowledged survives ${ROUNDS} rounds of SIGKILL`, { timeout: 120_000 }, async () => {
  const client = await clientIn(built);
  const directory = stateDirectory();
  const said: Said = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    await runAndKill(join(built, 'acknowledging.js'), directory, round * 1_000_000, said);
    // The witness alone must do, and never say what is not true.
    if (round % 2 === 1) rmSync(join(directory, 'ledger.mark'));
    const { origin, attachments, mounts, setAside } = await withLedger(client, directory, (ledger) => ledger.load());
    expect([origin, setAside]).toEqual(['existing', []]);
    const ids = new Set(attachments.map(({ id }) => id));
    const leaves = new Set(mounts.map(({ volume }) => volume.leaf));
    for (const [n, mark] of said) {
      const there = ids.has(attachment(n).id);
      if (mark !== '?') expect([round, n, there]).toEqual([round, n, mark === '+']);
      // Both changes of a commit, or neither.
      expect([round, n, leaves.has(volumeOf(`reg/vol-${n}`).leaf)]).toEqual([round, n, there]);
      // From now on it is known what became of it.
      said.set(n, there ? '+' : '-');
    }
  }
  expect(said.size).toBeGreaterThan(ROUNDS * 20);
});

async function runAndKill(program: string, directory: string, start: number, said: Said): Promise<void> {
  const child = spawn(process.execPath, [program, directory, String(start)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const wanted = 1 + Math.floor(Math.random() * MAX_ACKNOWLEDGED);
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    said.set(Number(line.slice(1)), line[0] as '+' | '?' | '-');
    if (++lines === wanted) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
}

/** A ledger of version 1 with its mark, as the program before left it. */
function older(directory: string): void {
  const database = openDatabase(join(directory, 'ledger.db'));
  database.exec(readFileSync(new URL('../../unit/ledger/version-1.sql', import.meta.url), 'utf8'));
  database.close();
  chmodSync(join(directory, 'ledger.db'), 0o600);
  const mark = 'fairlead ledger mark\nwritten-by 0.0.9\nschema 1\nsequence 0000000000000041\n';
  writeFileSync(join(directory, 'ledger.mark'), mark, { mode: 0o600 });
}

/** Starts that are killed while the ledger is opened, one after the other, until one has lived to its end. */
async function startAndKill(directory: string): Promise<void> {
  for (let start = 0; start < STARTS; start++) {
    const child = spawn(process.execPath, [join(built, 'opening.js'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === 'opening') setTimeout(() => child.kill('SIGKILL'), Math.random() * START_MS);
    }
    expect(await exited).toEqual([null, 'SIGKILL']);
  }
}

test('a start that is killed while it makes a ledger leaves nothing to be alarmed about', async () => {
  const client = await clientIn(built);
  for (let round = 0; round < 3; round++) {
    const directory = stateDirectory();
    await startAndKill(directory);
    const { origin, setAside } = await withLedger(client, directory, (ledger) => ledger.load());
    expect(setAside).toEqual([]);
    expect(['created', 'existing']).toContain(origin);
  }
});

test('nor does one that is killed while it brings an older ledger to this version', async () => {
  const client = await clientIn(built);
  for (let round = 0; round < 3; round++) {
    const directory = stateDirectory();
    older(directory);
    await startAndKill(directory);
    const { origin, setAside, attachments } = await withLedger(client, directory, (ledger) => ledger.load());
    expect([origin, attachments]).toEqual(['existing', [ATTACHMENT]]);
    expect(setAside.filter(({ table }) => table === 'ledger')).toEqual([]);
  }
});

test('and one that is killed while it takes over an older copy leaves holds', async () => {
  const client = await clientIn(built);
  for (let round = 0; round < 3; round++) {
    const directory = stateDirectory();
    const commit = (n: number): Promise<void> =>
      withLedger(client, directory, (ledger) => ledger.commit([{ kind: 'put-attachment', attachment: attachment(n) }]));
    await commit(1);
    const names = ['ledger.db', 'ledger.mark'];
    const copy = names.map((name) => readFileSync(join(directory, name)));
    await commit(2);
    for (const [index, name] of names.entries()) writeFileSync(join(directory, name), copy[index] ?? '');
    await startAndKill(directory);
    const { setAside, attachments, holds } = await withLedger(client, directory, (ledger) => ledger.load());
    expect(setAside.length).toBeGreaterThan(0);
    // Cut off at the worst moment it has lost the copy's records, too; then whatever is found mounted is held.
    if (attachments.length > 0) {
      expect([attachments, holds.map(({ leaf }) => leaf)]).toEqual([[attachment(1)], [VOLUME.leaf]]);
    }
  }
});
