// A ledger whose process is killed at any moment, over and over: nothing that was acknowledged is lost.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { attachment, volumeOf } from '../../unit/ledger/samples.js';
import { buildLedger, clientIn, stateDirectory, withLedger } from '../../unit/ledger/thread.js';

const ROUNDS = 20;
/** Acknowledgements after which a round's process is killed, at most. */
const MAX_ACKNOWLEDGED = 1500;

/** What the killed processes said of each attachment, in the order of the marks: there, being ended, ended. */
type Said = Map<number, '+' | '?' | '-'>;

test(`what was acknowledged survives ${ROUNDS} rounds of SIGKILL`, { timeout: 120_000 }, async () => {
  const built = await buildLedger(fileURLToPath(new URL('acknowledging.ts', import.meta.url)));
  const client = await clientIn(built);
  const directory = stateDirectory();
  const said: Said = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    await runAndKill(join(built, 'acknowledging.js'), directory, round * 1_000_000, said);
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
