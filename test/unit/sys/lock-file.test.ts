import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blankLocks, takeLock } from '../../../src/sys/lock-file.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fairlead-lock-'));
  path = join(directory, 'broker.lock');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function taken(): () => void {
  const lock = takeLock(path);
  if (!lock.taken) throw new Error('not taken');
  return lock.release;
}

describe('the lock that decides who is the broker', () => {
  it('has one holder, and tells the second one who that is', () => {
    const release = taken();
    expect(takeLock(path)).toEqual({ taken: false, holder: process.pid });
    release();
    taken()();
  });

  it('names nobody once it is free', () => {
    taken()();
    expect(readFileSync(path, 'latin1')).toBe('');
  });

  it('names nobody in the last moment of its process, and is still had by it', async () => {
    const release = taken();
    await blankLocks();
    expect(readFileSync(path, 'latin1')).toBe('');
    expect(takeLock(path)).toEqual({ taken: false, holder: null });
    release();
  });

  it('is in a file that only its user may open', () => {
    const umask = process.umask(0);
    const release = taken();
    process.umask(umask);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'latin1')).toBe(`${process.pid}\n`);
    release();
  });

  it('takes over a file that a dead process left, whatever is in it', () => {
    writeFileSync(path, 'x'.repeat(100), { mode: 0o600 });
    const release = taken();
    expect(readFileSync(path, 'latin1')).toBe(`${process.pid}\n`);
    release();
  });

  it('is not kept alive by a child that outlives its parent', async () => {
    const release = taken();
    const child = spawn('/bin/sleep', ['60'], { stdio: 'ignore' });
    release();
    taken()();
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
  });

  it('is refused on a link, and the file behind the link stays as it was', () => {
    const victim = join(directory, 'victim');
    writeFileSync(victim, 'precious', { mode: 0o600 });
    symlinkSync(victim, path);
    expect(() => takeLock(path)).toThrow(expect.objectContaining({ code: 'config-invalid' }) as Error);
    expect(readFileSync(victim, 'latin1')).toBe('precious');
  });

  it('is refused on a directory and on a file that others may write', () => {
    mkdirSync(path);
    expect(() => takeLock(path)).toThrow(expect.objectContaining({ code: 'config-invalid' }) as Error);
    rmSync(path, { recursive: true });
    writeFileSync(path, '');
    chmodSync(path, 0o666);
    expect(() => takeLock(path)).toThrow(expect.objectContaining({ code: 'config-invalid' }) as Error);
  });
});
