// The state disk at its worst: full, failing, owned by somebody else. Needs root, for tmpfs and for changing uids.

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { LEDGER_RESERVE_BYTES } from '../../../src/core/limits.js';
import { witnessOf } from '../../unit/ledger/samples.js';
import { buildLedger, stateDirectory } from '../../unit/ledger/thread.js';

/** Room for the reserve twice and for some thousand records. */
const DISK_BYTES = 6 * 1_048_576;
/** Room for some small files. */
const RUN_BYTES = 65_536;
let built: string;
beforeAll(async () => {
  const entry = (name: string): string => fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  built = await buildLedger(entry('full-disk'), entry('failing-disk'), entry('full-run'), entry('other-user'));
});

/**
 * Runs a program on `directory` in a mount namespace of its own, with a tmpfs of `bytes` on `small`, and returns what it
 * printed.
 */
function onSmallDisk(program: string, directory: string, small: string, bytes: number): unknown {
  const script = 'mount -t tmpfs -o size="$1",mode=0700 tmpfs "$2" && exec "$3" "$4" "$5"';
  const args = ['-c', script, 'sh', String(bytes), small, process.execPath, join(built, program), directory];
  return printed(['unshare', '--mount', '--propagation', 'private', 'sh', ...args]);
}

function printed([program = '', ...args]: readonly string[]): unknown {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}

test('a full disk refuses what begins, lets end what ends, and recovers', () => {
  const directory = stateDirectory();
  expect(onSmallDisk('full-disk.js', directory, directory, DISK_BYTES)).toEqual({
    reserve: LEDGER_RESERVE_BYTES,
    refusal: 'resource-exhausted',
    reserveWhenFull: 0,
    newConnect: 'resource-exhausted',
    openConnect: 'ok',
    ends: ['ok'],
    stillRefused: 'resource-exhausted',
    mixedGroup: ['resource-exhausted', 'ok'],
    restart: ['existing', true],
    endAfterRestart: 'ok',
    attachAfterRestart: 'resource-exhausted',
    attachWithRoom: 'ok',
    reserveAgain: LEDGER_RESERVE_BYTES,
    last: true,
    reserveWithoutHoles: LEDGER_RESERVE_BYTES,
    refusalWithoutReserve: 'resource-exhausted',
  });
});

test('a run_dir that is full or read-only stops nothing, and tells nothing wrong afterwards', () => {
  const directory = stateDirectory();
  expect(onSmallDisk('full-run.js', directory, dirname(witnessOf(directory)), RUN_BYTES)).toEqual({
    fullAtFirst: ['created', 'ok', ['ledger-witness-not-written']],
    withRoom: ['existing', 'ok', []],
    fullLater: ['existing', 'ok', []],
    exact: true,
    readOnly: ['existing', 'ok', ['ledger-witness-not-written']],
    behind: true,
    writableAgain: ['existing', 'ok', []],
    setAside: [],
  });
});

test('a disk that fails breaks the ledger, which says so and refuses until it is opened anew', () => {
  expect(printed([process.execPath, join(built, 'failing-disk.js'), stateDirectory()])).toEqual({
    before: 'ok',
    after: 'unavailable',
    later: 'unavailable',
    ended: 'unavailable',
    stillLater: 'unavailable',
    restart: ['existing', 1],
  });
});

test('a directory or a ledger of another user is refused with the mend', () => {
  const directory = stateDirectory();
  const run = dirname(witnessOf(directory));
  fs.chownSync(directory, 65_534, 65_534);
  // As `fairlead up` makes it: the group may make files there, and nobody touches what is another's.
  fs.chownSync(run, 0, 65_534);
  fs.chmodSync(run, 0o1775);
  expect(printed([process.execPath, join(built, 'other-user.js'), directory, '0'])).toMatchObject({
    code: 'config-invalid',
    message: expect.stringMatching(/owned by uid 65534.*chown 0 /) as string,
  });
  expect(printed([process.execPath, join(built, 'other-user.js'), directory, '65534'])).toEqual({ origin: 'created' });
  fs.chownSync(join(directory, 'ledger.db'), 0, 0);
  expect(printed([process.execPath, join(built, 'other-user.js'), directory, '65534'])).toMatchObject({
    code: 'config-invalid',
    message: expect.stringMatching(/ledger\.db cannot be opened by us.*chown 65534 /) as string,
  });
  fs.chownSync(join(directory, 'ledger.db'), 65_534, 65_534);
  expect(fs.statSync(witnessOf(directory)).uid).toBe(65_534);
  fs.chownSync(witnessOf(directory), 12_345, 65_534);
  for (const mode of [0o600, 0o660, 0o666]) {
    fs.chmodSync(witnessOf(directory), mode);
    expect(printed([process.execPath, join(built, 'other-user.js'), directory, '65534'])).toMatchObject({
      code: 'config-invalid',
      field: 'run_dir',
      message: expect.stringMatching(/ledger\.witness .* rm /) as string,
    });
  }
});
