import { describe, expect, it } from 'vitest';
import { parseDiskName } from '../../../src/core/names.js';
import { diskPathOf, isBelow, mountpointOf, parseAbsolutePath } from '../../../src/core/paths.js';
import { leafOf, type Export } from '../../../src/core/volume.js';
import { refusalOf } from '../../refusal.js';

describe('an absolute path', () => {
  it.each(['/a', '/var/lib/fairlead/mnt/quobyte', '/srv/..x/.y', '/é', `/${'x'.repeat(255)}`])(
    'is kept: %s',
    (path) => {
      expect(parseAbsolutePath(path, 'mount_base')).toBe(path);
    },
  );

  it.each([
    '',
    'rel/x',
    './x',
    '~/x',
    '/',
    '//',
    '/a/../b',
    '/..',
    '/a/.',
    '/./a',
    '/a//b',
    '//a',
    '/a/',
    ' /a',
    '/a b',
    '/a ',
    '/a\u00a0b',
    '/a\tb',
    '/a\nb',
    '/a\0b',
    '/a\u202eb',
    '/a\ud800',
    '-x',
    `/${'x'.repeat(256)}`,
    `/${'é'.repeat(128)}`,
    `/${'x/'.repeat(2048)}x`,
    1,
    null,
    undefined,
    ['/a'],
  ])('is refused: %j', (path) => {
    refusalOf(() => parseAbsolutePath(path, 'mount_base'));
  });
});

describe('the root directory', () => {
  it('is refused by its name, not as a stray slash', () => {
    expect(refusalOf(() => parseAbsolutePath('/', 'mount_base')).message).toContain('root directory');
  });
});

describe('joining', () => {
  const leaf = leafOf('192.168.1.1/volume-00001' as Export);

  it('gives base, leaf and disk, as Nova does', () => {
    expect(mountpointOf('/mnt/q', leaf)).toBe('/mnt/q/c94ed34ada0acf45c1213beb1fc52ce6');
    expect(diskPathOf('/mnt/q', leaf, parseDiskName('volume-00000001', 'd'))).toBe(
      '/mnt/q/c94ed34ada0acf45c1213beb1fc52ce6/volume-00000001',
    );
  });
});

describe('containment', () => {
  it.each([
    ['/a/b', '/a', true],
    ['/a/b/c', '/a', true],
    ['/a', '/a', false],
    ['/ab', '/a', false],
    ['/a', '/a/b', false],
    ['/b/a', '/a', false],
    ['/a', '/', true],
    ['/', '/', false],
  ])('%s below %s: %s', (path, directory, below) => {
    expect(isBelow(path, directory)).toBe(below);
  });
});
