import { describe, expect, it } from 'vitest';
import { parseRegistry } from '../../../src/backends/registries.js';
import { quobyte } from '../../../src/backends/quobyte.js';
import { MAX_EXPORT_BYTES } from '../../../src/core/limits.js';
import { refusalOf } from '../../refusal.js';

const longest = `r/${'v'.repeat(MAX_EXPORT_BYTES - 2)}`;

describe('an export', () => {
  it.each([
    '192.168.1.1/volume-00001',
    'r/v',
    'R.Example.COM:7861/Vol',
    'reg1:7861,reg2:7861,reg3/vol-name',
    '[::1]/v',
    '[fd00::1]:7861,[FD00:0:0::2]/v',
    '[::ffff:192.168.1.1]:7861/v',
    '_quobyte._tcp.example.com/v',
    'xn--bcher-kva.example/v',
    'r/user@v',
    'r/a.b_c-d+e=f~g:h',
    'r/Grüße',
    'r/日本語',
    'r/e\u0301',
    'r/123',
    'r/_x',
    `${'a'.repeat(63)}.example/v`,
    Array.from({ length: 32 }, (_, n) => `r${n}`).join(',') + '/v',
    longest,
  ])('is kept as it is: %s', (text) => {
    expect(quobyte.parseExport(text, 'url')).toBe(text);
  });

  it.each([
    // options
    '-o suid,dev',
    '-o,suid,dev',
    '-/v',
    '--help/v',
    '-r/v',
    'r/-v',
    'r/--allow-other',
    'r,-o/v',
    // shape
    '',
    '/',
    '/v',
    'r/',
    'r',
    'r//v',
    'r/v/',
    'r/v/w',
    'r/../v',
    'r/.',
    'r/..',
    'r/.hidden',
    './v',
    '../v',
    ',r/v',
    'r,/v',
    'r,,s/v',
    ',/v',
    'r|s/v',
    'r;s/v',
    'quobyte://r/v',
    'http://r/v',
    'quobyte@r/v',
    // credentials and queries
    'admin:pw@r/v',
    'admin@r/v',
    'r,admin:pw@s/v',
    'r/v?token=x',
    'r/v#x',
    'r?x/v',
    'r/v%2f..',
    // words a shell or a table would read
    'r/v;touch X',
    'r/$(id)',
    'r/`id`',
    'r/v|w',
    'r/v&w',
    'r/v,suid',
    'r/"v"',
    "r/'v'",
    'r/v\\w',
    'r/v*',
    'r/<v>',
    // characters
    'r/v w',
    'r/ v',
    'r /v',
    'r/v\u00a0',
    'r/v\t',
    'r/v\n',
    'r\n/v',
    'r/v\0',
    'r/v\x1b[2J',
    'r/v\u202e',
    'r/v\u200b',
    'r/\u0301v',
    'r/v\ufe0f',
    'r/\ud800',
    'r/v\udc00',
    'é/v',
    // hosts
    '.r/v',
    'r../v',
    'r..s/v',
    'r-/v',
    `${'a'.repeat(64)}/v`,
    `${'a.'.repeat(127)}ab/v`,
    '1.2.3/v',
    '1.2.3.256/v',
    '01.2.3.4/v',
    '1.2.3.4.5/v',
    '123/v',
    '::1/v',
    'fd00::1/v',
    '[::1/v',
    '::1]/v',
    '[]/v',
    '[r]/v',
    '[1.2.3.4]/v',
    '[::1]x/v',
    '[::1]7861/v',
    '[1:2:3:4:5:6:7]/v',
    '[1:2:3:4:5:6:7:8:9]/v',
    '[1::2::3]/v',
    '[1:2:3:4:5:6:7:8::9]/v',
    '[1:2:3:4::5:6:7:8]/v',
    '[::12345]/v',
    '[::g]/v',
    '[:::]/v',
    '[fe80::1%eth0]/v',
    '[1.2.3.4::]/v',
    '[::1.2.3.256]/v',
    '[::1.2.3]/v',
    // ports
    'r:/v',
    'r:0/v',
    'r:65536/v',
    'r:07861/v',
    'r:-1/v',
    'r:+1/v',
    'r:1e3/v',
    'r:0x10/v',
    'r:http/v',
    'r:1:2/v',
    '[::1]:/v',
    // size
    `${longest}v`,
    `r/${'é'.repeat(MAX_EXPORT_BYTES / 2)}`,
    Array.from({ length: 33 }, (_, n) => `r${n}`).join(',') + '/v',
  ])('is refused: %j', (text) => {
    expect(refusalOf(() => quobyte.parseExport(text, 'url')).field).toBe('url');
  });

  it('is refused without a word of it in the message', () => {
    for (const text of ['SECRETHOST:pw@r/v', 'r/SECRETVOL?token=SECRET', 'SECRET', 'SECRET:x/v', `r/SECRET\n`]) {
      expect(refusalOf(() => quobyte.parseExport(text, 'url')).message).not.toContain('SECRET');
    }
  });

  it.each([
    ['r/v w', 'blanks'],
    ['r/v/w', 'exactly one slash'],
    ['my-volume', 'quobyte://REGISTRY'],
    ['/v', 'name a registry'],
    ['r,,s/v', 'none of them empty'],
    ['r/', 'name a volume'],
    ['r:x/v', 'port'],
    ['[r]/v', 'brackets'],
    ['[::1]x/v', 'brackets'],
    ['2001:db8::1/v', 'IPv6 addresses in brackets'],
    ['::1/v', 'IPv6 addresses in brackets'],
    ['r,fe80::1:7861/v', 'IPv6 addresses in brackets'],
  ])('is refused by the rule it breaks: %s', (text, words) => {
    expect(refusalOf(() => quobyte.parseExport(text, 'url')).message).toContain(words);
  });

  it('says where credentials belong', () => {
    expect(refusalOf(() => quobyte.parseExport('admin:pw@r/v', 'url')).message).toContain('mount helper');
  });
});

describe('a registry', () => {
  it.each([
    ['r', 'r:7861'],
    ['R.Example', 'r.example:7861'],
    ['r.example.', 'r.example.:7861'],
    ['r.:1', 'r.:1'],
    ['a.'.repeat(127), `${'a.'.repeat(127)}:7861`],
    ['r:7861', 'r:7861'],
    ['r:1', 'r:1'],
    ['10.0.0.1', '10.0.0.1:7861'],
    ['[::1]', '[0:0:0:0:0:0:0:1]:7861'],
    ['[0:0::0001]:7861', '[0:0:0:0:0:0:0:1]:7861'],
    ['[FD00::A]:9', '[fd00:0:0:0:0:0:0:a]:9'],
    ['[::]', '[0:0:0:0:0:0:0:0]:7861'],
    ['[1:2:3:4:5:6:7::]', '[1:2:3:4:5:6:7:0]:7861'],
    ['[1:2:3:4:5:6:7:8]', '[1:2:3:4:5:6:7:8]:7861'],
    ['[::ffff:1.2.3.4]', '[0:0:0:0:0:ffff:102:304]:7861'],
  ])('%s is %s', (text, key) => {
    expect(parseRegistry(text, 'registries')).toBe(key);
  });

  it.each(['', '.', 'r..', '.r', '1.2.3.4.', 'r,s', 'r/v', '-r', 'r:x', 5, null, ['r']])('is refused: %j', (value) => {
    refusalOf(() => parseRegistry(value, 'registries'));
  });
});
