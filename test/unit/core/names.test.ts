import { describe, expect, it } from 'vitest';
import { parseConsumer, parseDiskName, userOf } from '../../../src/core/names.js';
import { refusalOf } from '../../refusal.js';

const uuid = '6f1d2a3b-4c5d-4e6f-8a9b-0c1d2e3f4a5b';

describe('a disk name', () => {
  it.each([
    'volume-00000001',
    'disk',
    'a.b',
    '.hidden',
    'two words.img',
    'é',
    '日本',
    'x'.repeat(255),
    'é'.repeat(127),
  ])('is kept: %s', (name) => {
    expect(parseDiskName(name, 'disk')).toBe(name);
  });

  it.each([
    '../../etc/shadow',
    '/etc/shadow',
    'a/b',
    'a/',
    '/',
    '.',
    '..',
    '',
    ' ',
    'a\0b',
    'a\nb',
    'a\x1b[2Jb',
    'a\u202eb',
    'a\u200bb',
    'a\ud800',
    '-o',
    '--help',
    '-',
    'x'.repeat(256),
    'é'.repeat(128),
    7,
    null,
    undefined,
    ['disk'],
    { name: 'disk' },
    { toString: () => 'disk' },
  ] as readonly unknown[])('is refused: %j', (name) => {
    const error = refusalOf(() => parseDiskName(name, 'disk'));
    expect(error.message).not.toContain('etc');
  });
});

describe('a consumer', () => {
  it.each([
    [`nova:${uuid}`, `nova:${uuid}`],
    [`nova:${uuid.toUpperCase()}`, `nova:${uuid}`],
    [`vm:${uuid}`, `vm:${uuid}`],
    ['cli:alice', 'cli:alice'],
    ['cli:Alice', 'cli:Alice'],
    ['cli:alice@host.example', 'cli:alice@host.example'],
    ['docker:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945', undefined],
    ['csi:pvc-1:pod_2', undefined],
    [`cli:${'x'.repeat(251)}`, undefined],
  ])('%s', (text, kept) => {
    expect(parseConsumer(text, 'consumer')).toBe(kept ?? text);
  });

  it.each([
    '',
    'alice',
    ':alice',
    'cli:',
    'cli',
    'Cli:alice',
    'NOVA:x',
    'root:alice',
    'constructor:alice',
    '__proto__:alice',
    'hold:inherited',
    `nova:${uuid}x`,
    `nova: ${uuid}`,
    `nova:{${uuid}}`,
    `nova:${uuid.replaceAll('-', '')}`,
    'nova:alice',
    'vm:1',
    'cli:-alice',
    'cli:a b',
    'cli:a/b',
    'cli:../x',
    'cli:a\nb',
    'cli:a\x1bb',
    'cli:a\u202eb',
    'cli:é',
    'cli:a"b',
    'cli:a;b',
    `cli:${'x'.repeat(252)}`,
    5,
    null,
    ['cli:alice'],
  ])('is refused: %j', (text) => {
    refusalOf(() => parseConsumer(text, 'consumer'));
  });
});

describe('the user behind a consumer', () => {
  it('is the same for a Nova instance and its domain', () => {
    expect(userOf(parseConsumer(`nova:${uuid.toUpperCase()}`, 'c'))).toBe(userOf(parseConsumer(`vm:${uuid}`, 'c')));
  });

  it('is another for every other kind, id or case', () => {
    const users = [
      `vm:${uuid}`,
      `cli:${uuid}`,
      `csi:${uuid}`,
      `docker:${uuid}`,
      'cli:a',
      'cli:A',
      'cli:nova:a',
      'cli:vm:a',
    ];
    expect(new Set(users.map((text) => userOf(parseConsumer(text, 'c')))).size).toBe(users.length);
  });
});
