// The state disk at its worst: full, failing, owned by somebody else. Needs root, for tmpfs and for changing uids.

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { LEDGER_RESERVE_BYTES } from '../../../src/core/limits.js';
import { buildLedger, stateDirectory } from '../../unit/ledger/thread.js';

/** Room for the reserve twice and for some thousand records. */
const DISK_BYTES = 6 * 1_048_576;
let built: string;
beforeAll(async () => {
  const entry = (name: string): string => fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  built = await buildLedger(entry('full-disk'), entry('failing-disk'), entry('other-user'));
});

/** Runs a program in a mount namespace of its own, with a small tmpfs on `directory`, and returns what it printed. */
function onSmallDisk(program: string, directory: string): unknown {
  const script = 'mount -t tmpfs -o size="$1",mode=0700 tmpfs "$2" && exec "$3" "$4" "$2"';
  const args = ['-c', script, 'sh', String(DISK_BYTES), directory, process.execPath, join(built, program)];
  return printed(['unshare', '--mount', '--propagation', 'private', 'sh', ...args]);
}

function printed([program = '', ...args]: readonly string[]): unknown {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}

test('a full disk refuses what begins, lets end what ends, and recovers', () => {
  expect(onSmallDisk('full-disk.js', stateDirectory())).toEqual({
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
  fs.chownSync(directory, 65_534, 65_534);
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
});
