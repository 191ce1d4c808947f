// Directories before the start: what is missing is made right, what is unsound is refused with its mend, all at once, and
// nothing that exists is changed.

import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Config } from '../../../src/config.js';
import { parseConfig } from '../../../src/config/parse.js';
import { FairleadError } from '../../../src/core/errors.js';
import { prepareDirectories } from '../../../src/up/prepare.js';

const AGENT = 61786;
let home: string;
let config: Config;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'fairlead-prepare-'));
  chmodSync(home, 0o755);
  config = parseConfig(
    `state_dir = "${home}/a/state"\nrun_dir = "${home}/run"\n[backend.quobyte]\nmount_base = "${home}/a/state/mnt/q"\n[backend.local]\nmount_base = "${home}/l"`,
    'f',
    '',
  );
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

function refusal(): string {
  try {
    prepareDirectories(config);
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'config-invalid') return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

function facts(path: string): [number, number, string] {
  const { uid, gid, mode } = lstatSync(join(home, path));
  return [uid, gid, (mode & 0o7777).toString(8)];
}

describe.skipIf(process.geteuid?.() !== 0)('as root', () => {
  test.each([0o000, 0o022, 0o077])('what is missing is made with its owner and mode, with umask %i', (umask) => {
    const before = process.umask(umask);
    try {
      prepareDirectories(config);
    } finally {
      process.umask(before);
    }
    expect(facts('a')).toEqual([0, 0, '755']);
    expect(facts('a/state')).toEqual([0, 0, '711']);
    expect(facts('a/state/ledger')).toEqual([AGENT, AGENT, '700']);
    expect(facts('a/state/mnt')).toEqual([0, 0, '755']);
    expect(facts('a/state/mnt/q')).toEqual([0, 0, '711']);
    expect(facts('l')).toEqual([0, 0, '711']);
    expect(facts('run')).toEqual([0, AGENT, '1775']);
  });

  test('a second time nothing changes', () => {
    prepareDirectories(config);
    const before = lstatSync(join(home, 'run')).ctimeMs;
    prepareDirectories(config);
    expect(lstatSync(join(home, 'run')).ctimeMs).toBe(before);
  });

  const attacks: readonly [string, () => void, string][] = [
    ['a base that others may write to', () => mkdirSync(join(home, 'l')), 'chmod go-w'],
    ['a base of another owner', () => mkdirSync(join(home, 'l')), 'chown root'],
    ['a base that is a link', () => symlinkSync('/tmp', join(home, 'l')), 'is a link'],
    ['a base that keeps its users out', () => mkdirSync(join(home, 'l')), 'chmod 0711'],
  ];
  test.each(attacks)('%s is refused', (name, make, mend) => {
    make();
    if (name.includes('write')) chmodSync(join(home, 'l'), 0o777);
    if (name.includes('owner')) chownSync(join(home, 'l'), 4242, 0);
    if (name.includes('users')) chmodSync(join(home, 'l'), 0o700);
    const message = refusal();
    expect(message).toContain('backend.local.mount_base');
    expect(message).toContain(mend);
  });

  test('a trusted owner may own a base, and nothing else', () => {
    const trusting = { ...config, trustedBaseOwners: [4242] };
    mkdirSync(join(home, 'l'));
    chownSync(join(home, 'l'), 4242, 0);
    prepareDirectories(trusting);
    chownSync(join(home, 'a/state'), 4242, 0);
    config = trusting;
    expect(refusal()).toContain('state_dir');
  });

  test('a ledger of another user, or open to others, is refused', () => {
    prepareDirectories(config);
    chmodSync(join(home, 'a/state/ledger'), 0o750);
    expect(refusal()).toContain('chmod 0700');
    chownSync(join(home, 'a/state/ledger'), 4242, 4242);
    expect(refusal()).toContain(`chown -R ${AGENT}:${AGENT}`);
    rmSync(join(home, 'a/state/ledger'), { recursive: true });
    symlinkSync('/tmp', join(home, 'a/state/ledger'));
    expect(refusal()).toContain('link');
  });

  test('a run directory that was made for another group, or is open to all, is refused', () => {
    mkdirSync(join(home, 'run'));
    chownSync(join(home, 'run'), 0, 4242);
    chmodSync(join(home, 'run'), 0o1775);
    expect(refusal()).toContain('run_dir');
    chmodSync(join(home, 'run'), 0o1777);
    expect(refusal()).toContain('run_dir');
  });

  test('a run directory that is root’s alone gets the agent’s group', () => {
    mkdirSync(join(home, 'run'), { mode: 0o755 });
    prepareDirectories(config);
    expect(facts('run')).toEqual([0, AGENT, '1775']);
  });

  test('a directory that the agent cannot go through is named, with the mend', () => {
    chmodSync(home, 0o700);
    const message = refusal();
    expect(message).toContain(`chmod o+x ${home}`);
    expect(message).toContain('state_dir');
    expect(message).toContain('run_dir');
  });

  test('nothing is made below a directory that somebody else may change', () => {
    mkdirSync(join(home, 'a'));
    chmodSync(join(home, 'a'), 0o777);
    expect(refusal()).toContain(`chmod go-w ${home}/a`);
    expect(lstatSync(join(home, 'a/state'), { throwIfNoEntry: false })).toBeUndefined();
  });
});
