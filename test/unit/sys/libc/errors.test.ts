import { describe, expect, it } from 'vitest';
import { errnoName, errnoOf, signalName, SystemCallError } from '../../../../src/sys/libc/errors.js';

describe('names of errors', () => {
  it.each([
    [2, 'ENOENT'],
    [5, 'EIO'],
    [11, 'EAGAIN'],
    [16, 'EBUSY'],
    [30, 'EROFS'],
    [61, 'ENODATA'],
    [95, 'EOPNOTSUPP'],
    [107, 'ENOTCONN'],
    [116, 'ESTALE'],
    [512, 'E512'],
  ])('%i is %s', (errno, name) => {
    expect(errnoName(errno)).toBe(name);
  });

  it('are read from errors of Node and ours alike, and from nothing else', () => {
    expect(errnoOf(new SystemCallError('umount2', 16))).toBe('EBUSY');
    expect(errnoOf(Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe('ENOENT');
    expect(errnoOf(Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' }))).toBeNull();
    expect(errnoOf(new RangeError('x'))).toBeNull();
    expect(errnoOf({ code: 'ENOENT' })).toBeNull();
    expect(errnoOf(null)).toBeNull();
  });

  it('say which call failed, and never where', () => {
    expect(new SystemCallError('openat2', 40).message).toBe('openat2 failed: ELOOP');
  });

  it('of signals too', () => {
    expect(signalName(9)).toBe('SIGKILL');
    expect(signalName(64)).toBe('SIG64');
  });
});
