// R12: the errno is what everything else about a mount in trouble is decided from, so it must not get lost on the way.

import { describe, expect, it } from 'vitest';
import { errnoOf, SystemCallError } from '../../../src/sys/libc/errors.js';

const failed = (code: unknown): Error => Object.assign(new Error('x'), { code });

describe('the errno of a failure', () => {
  it('is Node’s code and ours', () => {
    expect(errnoOf(failed('ENOTCONN'))).toBe('ENOTCONN');
    expect(errnoOf(new SystemCallError('statfs', 116))).toBe('ESTALE');
  });

  it('is found where libuv has no name for it, as for a stale mount', () => {
    expect(errnoOf(failed('Unknown system error -116'))).toBe('ESTALE');
    expect(errnoOf(failed('Unknown system error -117'))).toBe('EUCLEAN');
    expect(errnoOf(failed('Unknown system error -4000'))).toBe('E4000');
  });

  it.each(['ERR_INVALID_ARG_TYPE', 'Unknown system error', 'Unknown system error -1x', '', 5, null])(
    'is none of %j',
    (code) => {
      expect(errnoOf(failed(code))).toBeNull();
    },
  );

  it('is none of what is no error', () => {
    expect([errnoOf({ code: 'ENOENT' }), errnoOf(new Error('ENOENT')), errnoOf(null)]).toEqual([null, null, null]);
  });
});
