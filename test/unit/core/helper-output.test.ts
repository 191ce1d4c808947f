import { describe, expect, it } from 'vitest';
import { isCutShort, shownOutput } from '../../../src/core/helper-output.js';

const MOUNTPOINT = '/run/fairlead/quobyte/5b50';
const shown = (text: string): string => shownOutput(text, MOUNTPOINT);
const WITHHELD = '1 line withheld; --show-helper-output as root shows it';

describe('what a helper printed', () => {
  it.each([
    'sig=hunter2',
    'AccountKey=hunter2',
    'user%hunter2',
    '<password>hunter2</password>',
    'with password hunter2',
    'password%3Dhunter2',
    'hunter2',
    'permission denied hunter2',
    'hunter2: permission denied',
    'mount: hunter2: permission denied',
    'mount: permission denied: hunter2',
    'fuse: failed to open hunter2: No such file or directory',
    'mount.quobyte: authentication failed for hunter2',
    'no such volume: hunter2',
    'sh: 2: fusermount3hunter2: not found',
    `cannot mount at ${MOUNTPOINT}hunter2: permission denied`,
    'permission denied\u2028hunter2',
    'permission denied\u0000hunter2',
    'permission denied\u001b[31m',
    'Einhängen fehlgeschlagen',
  ])('is withheld in no known form: %j', (line) => {
    expect(shown(line)).toBe(WITHHELD);
  });

  it.each([
    'mount.quobyte: cannot open /dev/fuse: Permission denied',
    'fuse: failed to open /dev/fuse: No such device',
    "fuse: device not found, try 'modprobe fuse' first",
    'fusermount3: command not found',
    'sh: 1: fusermount3: not found',
    '/bin/sh: line 1: fusermount3: command not found',
    'mount.quobyte: no such volume',
    'Temporary failure in name resolution',
    'mount: only root can do that',
    'No space left on device',
  ])('is shown in a known form: %s', (line) => {
    expect(shown(line)).toBe(line);
    expect(isCutShort(line)).toBe(false);
  });

  it('is shown without the mountpoint', () => {
    expect(shown(`umount: ${MOUNTPOINT}: target is busy.`)).toBe('umount: [hidden]: target is busy.');
  });

  it('is a count where lines are withheld, beside those that are shown', () => {
    const text = shown('permission denied\r\n\nsecret one\npermission denied\nsecret two\n  secret three\n');
    expect(text).toBe('permission denied; 3 lines withheld; --show-helper-output as root shows them');
    expect(isCutShort(text)).toBe(true);
    expect(isCutShort(WITHHELD)).toBe(true);
  });

  it('is nothing where nothing was printed', () => {
    expect(shown('\n \n')).toBe('');
  });

  it('is read in time, however long it is', () => {
    const begun = performance.now();
    expect(shown('mount: fuse: '.repeat(5000))).toBe(WITHHELD);
    expect(shown('mount: \n'.repeat(8000))).toContain('8000 lines withheld');
    expect(performance.now() - begun).toBeLessThan(2000);
  });
});
