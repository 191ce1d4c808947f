import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { namesOf, redact } from '../../../src/core/secrets.js';
import { hasForbidden, utf8Length } from '../../../src/core/text.js';

describe('redaction', () => {
  it.each([
    'connecting to quobyte://admin:hunter2@reg/vol',
    'quobyte://admin:hun/ter2@reg/vol',
    'quobyte://hunter2@reg/vol',
    'admin:hunter2@reg: refused',
    'password=hunter2',
    'PASSWORD = hunter2',
    'passwd: hunter2',
    'my_password_file=hunter2',
    '{"password":"hunter2"}',
    '{"password": "a \\" hunter2"}',
    "secret_key: 'a hunter2'",
    'access_key=hunter2,volume=x',
    'access-key: hunter2',
    'api_key=hunter2',
    'AWS_SECRET_ACCESS_KEY=hunter2',
    'token=hunter2',
    'http://reg/v?x=hunter2',
    'r/v?sig=1&t=hunter2',
    '--password hunter2',
    '-token hunter2',
    '--access-key="x hunter2"',
    'Authorization: Bearer hunter2',
    'Authorization: Basic a hunter2',
    'sent bearer hunter2',
    'Cookie: a=b; c=hunter2',
    'password="unclosed hunter2',
    'password=\n  hunter2',
    '-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----',
    '-----BEGIN PRIVATE KEY-----\nhunter2',
  ])('leaves no credential: %j', (text) => {
    const shown = redact(`before ${text}`, []);
    expect(shown).not.toContain('hunter2');
    expect(shown).not.toContain('ter2');
    expect(shown).toContain('before');
    expect(shown).toContain('[redacted]');
  });

  it.each([
    'mount.quobyte: authentication failed: permission denied',
    'target is busy',
    'quobyte@reg:7861/x is not mounted',
    'exit 32',
  ])('leaves plain words alone: %s', (text) => {
    expect(redact(text, [])).toBe(text);
  });

  it('hides the names it is given, in any case and spelling of the list', () => {
    const volume = parseVolume('quobyte://reg1:7861,reg2/Secret-Vol');
    const shown = redact(
      'quobyte://reg1:7861,reg2/Secret-Vol, quobyte@reg1:7861|reg2/Secret-Vol, SECRET-VOL: no; xsecret-volx /etc/q.cfg',
      [...namesOf(volume), '/etc/q.cfg'],
    );
    expect(shown.toLowerCase()).not.toContain('secret-vol');
    expect(shown).not.toContain('reg2');
    expect(shown).not.toContain('q.cfg');
    expect(shown).toContain('[hidden]');
  });

  it('hides a short name only where it stands alone', () => {
    expect(redact('volume v not found in every /v/', ['v', ''])).toBe('volume [hidden] not found in every /[hidden]/');
  });

  it('hides the longest name first', () => {
    expect(redact('at abcdefgh/x.', ['abcdefgh', 'abcdefgh/x'])).toBe('at [hidden].');
  });

  it('takes names for text, not for patterns', () => {
    expect(redact('a.b axb (x)+ [', ['a.b', '(x)+', '['])).toBe('[hidden] axb [hidden] [hidden]');
  });

  it('gives one line without control characters', () => {
    const shown = redact('a\nFATAL forged\r\x1b[2J\u202e', []);
    expect(shown).toBe('a\\nFATAL forged\\r\\u{1b}[2J\\u{202e}');
    expect(hasForbidden(shown)).toBe(false);
  });

  it('is bounded, also when escaping makes the text longer', () => {
    expect(utf8Length(redact('é'.repeat(1000), [], 100))).toBeLessThanOrEqual(100);
    expect(utf8Length(redact('\x1b'.repeat(1_000_000), []))).toBeLessThanOrEqual(65_536);
    expect(redact(`${'x'.repeat(65_536)}tail`, [], 1_000_000)).not.toContain('tail');
    expect(redact('abc', [], 3)).toBe('abc');
    expect(redact('abcdefgh', [], 6)).toBe('ab …');
  });

  it.each([
    ['slashes', '://'],
    ['keys', 'password'],
    ['quotes', 'token="'],
    ['dashes', '-token '],
    ['blocks', '-----BEGIN '],
    ['questions', '?'],
    ['ats', 'a:@'],
    ['backslashes', 'key="\\'],
  ])('stays quick on hostile %s', (_, piece) => {
    const began = performance.now();
    redact(piece.repeat(100_000), ['aaaa', 'bbbbbbb']);
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
