import { describe, expect, it } from 'vitest';
import { backendOf, parseVolume } from '../../../src/backends/registry.js';
import { BACKEND_NAMES } from '../../../src/core/volume.js';
import { refusalOf } from '../../refusal.js';

describe('a volume URL', () => {
  it('gives Nova’s leaf', () => {
    expect(parseVolume('quobyte://192.168.1.1/volume-00001')).toEqual({
      backend: 'quobyte',
      export: '192.168.1.1/volume-00001',
      url: 'quobyte://192.168.1.1/volume-00001',
      leaf: 'c94ed34ada0acf45c1213beb1fc52ce6',
    });
  });

  it('may be Nova’s bare form, which is the same volume', () => {
    expect(parseVolume('192.168.1.1/volume-00001')).toEqual(parseVolume('quobyte://192.168.1.1/volume-00001'));
  });

  it('is not normalised: another spelling is another leaf', () => {
    const spellings = ['R/v', 'r/v', 'r:7861/v', 'r/V'];
    expect(new Set(spellings.map((text) => parseVolume(text).leaf)).size).toBe(spellings.length);
    expect(parseVolume('R:7861/v').export).toBe('R:7861/v');
  });

  it('may be local', () => {
    expect(parseVolume('local:///srv/pool/name')).toMatchObject({
      backend: 'local',
      export: '/srv/pool/name',
      url: 'local:///srv/pool/name',
    });
  });

  it.each([
    'quobyte://quobyte://r/v',
    'local://local:///a',
    'quobyte://local:///a',
    'Quobyte://r/v',
    'QUOBYTE://r/v',
    'quobyte:/r/v',
    'quobyte:r/v',
    'http://r/v',
    'file:///etc',
    'nfs://r/v',
    '://r/v',
    ' quobyte://r/v',
    'quobyte://r/v ',
    'Local:///a',
    'local://a',
    'local://',
    'local:///',
    'local:///a/../b',
    'local:///a//b',
    'local:///a/',
    'local:///-o',
    'local:///a/-o',
    'local:///a b',
    'local:///a?x',
    'local:///a#x',
    'local:///a%2fb',
    'local:///a\\b',
    'local:///a\nb',
    '/srv/pool/name',
    '',
    ' ',
    '\t',
  ])('is refused: %j', (text) => {
    expect(refusalOf(() => parseVolume(text)).field).toBe('url');
  });

  it.each([
    5,
    5n,
    null,
    undefined,
    true,
    [],
    ['r/v'],
    {},
    JSON.parse('{"__proto__":{"export":"r/v"}}') as unknown,
    new String('r/v'),
  ])('is refused when it is no text', (value) => {
    expect(refusalOf(() => parseVolume(value, 'data.export')).field).toBe('data.export');
  });
});

describe('another scheme', () => {
  it.each(['http://r/v', 'Quobyte://r/v', 'nfs://r/v'])('is refused as such: %s', (text) => {
    expect(refusalOf(() => parseVolume(text)).message).toContain('must begin with quobyte:// or local://');
  });
});

describe('the registry', () => {
  it('has every backend under its own name', () => {
    for (const name of BACKEND_NAMES) expect(backendOf(name).name).toBe(name);
  });
});
