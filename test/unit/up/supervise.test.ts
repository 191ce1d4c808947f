// A child that is kept alive: what it takes to be started again, to be given up, and to be ended. The children are real
// processes.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ErrorBody } from '../../../src/core/errors.js';
import { configArgument, readNews } from '../../../src/up/child.js';
import { supervise, type Supervised } from '../../../src/up/supervise.js';

let home: string;
let running: Supervised[];
let seen: { ready: number[]; restarts: string[]; gaveUp: ErrorBody[] };

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'fairlead-supervise-'));
  running = [];
  seen = { ready: [], restarts: [], gaveUp: [] };
});
afterEach(async () => {
  await Promise.all(running.map((one) => one.end(100)));
  rmSync(home, { recursive: true, force: true });
});

function start(
  code: string,
  firstEnv: Record<string, string> = {},
  giveUp: 'when-hopeless' | 'never' = 'when-hopeless',
): Supervised {
  const module = join(home, 'child.cjs');
  writeFileSync(module, code);
  const one = supervise(
    { name: 'agent', module, args: [join(home, 'log')], firstEnv, giveUp },
    {
      ready: (pid) => seen.ready.push(pid),
      lingering: () => undefined,
      restarting: (_, how) => seen.restarts.push(how),
      gaveUp: (error) => seen.gaveUp.push(error),
    },
  );
  running.push(one);
  return one;
}

const STAY = 'setInterval(() => {}, 1000); process.on("disconnect", () => process.exit());';

test('one that dies is started again, and the second does not get the environment of the first', async () => {
  start(
    `require('fs').appendFileSync(process.argv[2], (process.env.POINT ?? 'none') + ' '); process.send({ ready: true }); ${STAY}`,
    { POINT: 'p' },
  );
  await expect.poll(() => seen.ready.length, { timeout: 10_000 }).toBe(1);
  process.kill(seen.ready[0] ?? 0, 'SIGKILL');
  await expect.poll(() => seen.ready.length, { timeout: 10_000 }).toBe(2);
  expect(seen.restarts).toEqual(['SIGKILL']);
  expect(readFileSync(join(home, 'log'), 'utf8')).toBe('p none ');
});

test('one that says what only an operator can change is given up at once, with its words', async () => {
  const failed = { code: 'config-invalid', message: 'Mend it.', field: 'run_dir' };
  start(`process.send({ failed: ${JSON.stringify(failed)} }, () => process.exit(14));`);
  await expect.poll(() => seen.gaveUp, { timeout: 10_000 }).toMatchObject([failed]);
  expect(seen.restarts).toEqual([]);
});

test('its exit status is enough', async () => {
  start('process.exit(14)');
  await expect.poll(() => seen.gaveUp.map(({ code }) => code), { timeout: 10_000 }).toEqual(['config-invalid']);
});

test('one that never gets ready is given up after a few attempts', async () => {
  start('process.exit(3)');
  await expect.poll(() => seen.gaveUp.length, { timeout: 15_000 }).toBe(1);
  expect(seen.restarts).toHaveLength(4);
});

test('one that the others can do without is started again whatever it says', async () => {
  const failed = { code: 'config-invalid', message: 'Mend it.' };
  start(`process.send({ failed: ${JSON.stringify(failed)} }, () => process.exit(14));`, {}, 'never');
  await expect.poll(() => seen.restarts.length, { timeout: 15_000 }).toBeGreaterThan(5);
  expect(seen.gaveUp).toEqual([]);
});

test('one that does not heed SIGTERM is killed, and is not started again', async () => {
  const one = start(`process.on('SIGTERM', () => {}); process.send({ ready: true }); ${STAY}`);
  await expect.poll(() => seen.ready.length, { timeout: 10_000 }).toBe(1);
  await one.end(200);
  expect(() => process.kill(seen.ready[0] ?? 0, 0)).toThrow('ESRCH');
  expect(seen.restarts).toEqual([]);
});

test('a child’s message is believed only in its form', () => {
  expect(readNews({ ready: true })).toEqual({ ready: true });
  for (const odd of [null, 7, 'ready', {}, { ready: 1 }, { failed: {} }, { failed: { code: 'odd', message: 'x' } }]) {
    expect(readNews(odd)).toBeNull();
  }
});

test('the only argument is --config FILE', () => {
  expect(configArgument([])).toBeNull();
  expect(configArgument(['--config', '/f'])).toBe('/f');
  for (const words of [['--config'], ['/f'], ['--config', '/f', 'x']]) expect(() => configArgument(words)).toThrow();
});
