// Files that are believed for their owner: a planted link, a foreign owner or a writable directory on the way is refused.

import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config.js';
import { checkTrustedFile } from '../../../src/config/file.js';
import { FairleadError } from '../../../src/core/errors.js';

let directory: string;
let file: string;
const isRoot = process.geteuid?.() === 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-config-'));
  file = join(directory, 'client.cfg');
  writeFileSync(file, 'isolated = true\n', { mode: 0o644 });
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function refused(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'config-invalid') return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

const attacks: readonly [string, () => void, string][] = [
  ['writable by others', () => chmodSync(file, 0o666), 'chmod go-w'],
  ['writable by its group', () => chmodSync(file, 0o664), 'chmod go-w'],
  [
    'a link',
    () => {
      renameSync(file, `${file}.real`);
      symlinkSync(`${file}.real`, file);
    },
    'link',
  ],
  [
    'a FIFO',
    () => {
      rmSync(file);
      execFileSync('mkfifo', [file]);
    },
    'no regular file',
  ],
  [
    'a directory',
    () => {
      rmSync(file);
      mkdirSync(file);
    },
    'no regular file',
  ],
  ['missing', () => rmSync(file), ''],
  ['in a directory that others may write to', () => chmodSync(directory, 0o777), 'chmod go-w'],
];

describe.skipIf(!isRoot)('the client configuration', () => {
  test('is taken when it is root’s', () => {
    expect(() => checkTrustedFile(file, 'backend.quobyte.client_config')).not.toThrow();
  });
  test.each(attacks)('is refused when it is %s', (_, attack, mend) => {
    attack();
    const message = refused(() => checkTrustedFile(file, 'backend.quobyte.client_config'));
    expect(message).toContain('backend.quobyte.client_config');
    expect(message).toContain(mend);
  });
  test('is refused when it or its directory belongs to somebody else', () => {
    chownSync(file, 1234, 0);
    expect(refused(() => checkTrustedFile(file, 'f'))).toContain('belongs to another user');
    chownSync(file, 0, 0);
    chownSync(directory, 1234, 0);
    expect(refused(() => checkTrustedFile(file, 'f'))).toContain('belongs to another user');
  });
  test('is refused behind a link, and in a sticky directory that is open to all', () => {
    symlinkSync(directory, `${directory}-link`);
    expect(refused(() => checkTrustedFile(join(`${directory}-link`, 'client.cfg'), 'f'))).toContain('link');
    rmSync(`${directory}-link`);
    chmodSync(directory, 0o1777);
    expect(refused(() => checkTrustedFile(file, 'f'))).toContain('chmod go-w');
  });
});

describe('the configuration file', () => {
  test('is read when it is sound', () => {
    expect(loadConfig(file).isolated).toBe(true);
    expect(loadConfig(file).file).toBe(file);
  });
  test.each(attacks)('is refused when it is %s', (_, attack, mend) => {
    attack();
    expect(refused(() => loadConfig(file))).toContain(mend);
  });
  test.skipIf(!isRoot)('is refused when it belongs to somebody else', () => {
    chownSync(file, 1234, 0);
    expect(refused(() => loadConfig(file))).toContain('belongs to another user');
  });
  test('may lie in a sticky directory that is open to all, where nobody can replace it', () => {
    chmodSync(directory, 0o1777);
    expect(loadConfig(file).isolated).toBe(true);
  });
});
