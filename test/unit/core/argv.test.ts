import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { argumentVector, option } from '../../../src/core/argv.js';

describe('an argument vector', () => {
  it('keeps options and operands in their places', () => {
    expect(argumentVector([option('--disable-xattrs'), 'reg/vol', '/mnt', option('-c'), '/etc/q.cfg'])).toEqual([
      '--disable-xattrs',
      'reg/vol',
      '/mnt',
      '-c',
      '/etc/q.cfg',
    ]);
  });

  it('never has a value where an option is read', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (values) => {
        const sound = values.every((value) => value !== '' && !value.startsWith('-') && !value.includes('\0'));
        if (sound) expect(argumentVector(values)).toEqual(values);
        else expect(() => argumentVector(values)).toThrow(RangeError);
      }),
    );
    for (const value of ['-o suid,dev', '-', '--', '--help', '']) {
      expect(() => argumentVector(['r/v', value])).toThrow(RangeError);
    }
  });
});
