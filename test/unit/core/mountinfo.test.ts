import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseMountTable } from '../../../src/core/mountinfo.js';

/** A table as the reader gives it: the bytes, one character each. */
function asRead(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function line(
  mountPoint: string,
  source = 'quobyte@r/v',
  rest: { id?: number; parent?: number; type?: string } = {},
): string {
  return `${rest.id ?? 36} ${rest.parent ?? 35} 0:52 / ${mountPoint} rw,nosuid shared:7 - ${rest.type ?? 'fuse.quobyte'} ${source} rw,user_id=0\n`;
}

describe('the mount table', () => {
  it('gives every field of a line', () => {
    const text =
      '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue\n' +
      '37 35 0:5 / /dev rw - devtmpfs udev rw\n';
    expect(parseMountTable(text)).toEqual([
      {
        mountId: 36,
        parentId: 35,
        dev: '98:0',
        root: '/mnt1',
        mountPoint: '/mnt2',
        options: ['rw', 'noatime'],
        tags: ['master:1', 'propagate_from:2'],
        fsType: 'ext3',
        source: '/dev/root',
        superOptions: ['rw', 'errors=continue'],
      },
      {
        mountId: 37,
        parentId: 35,
        dev: '0:5',
        root: '/',
        mountPoint: '/dev',
        options: ['rw'],
        tags: [],
        fsType: 'devtmpfs',
        source: 'udev',
        superOptions: ['rw'],
      },
    ]);
  });

  it.each([
    [String.raw`/a\040b`, '/a b'],
    [String.raw`/a\011b`, '/a\tb'],
    [String.raw`/a\012b`, '/a\nb'],
    [String.raw`/a\134b`, '/a\\b'],
    [String.raw`/a\043b`, '/a#b'],
    [String.raw`/a\134040b`, '/a\\040b'],
    [String.raw`/a\40b`, String.raw`/a\40b`],
    [String.raw`/a\777b`, String.raw`/a\777b`],
    [String.raw`/gr\303\274n`, '/grün'],
  ])('undoes the kernel’s escapes: %s', (written, meant) => {
    expect(parseMountTable(line(written))[0]?.mountPoint).toBe(meant);
    expect(parseMountTable(line('/m', `quobyte@r${written}`))[0]?.source).toBe(`quobyte@r${meant}`);
  });

  it('decodes UTF-8 and keeps bytes that are none apart from everything else', () => {
    expect(parseMountTable(asRead(line('/mnt/日本😀')))[0]?.mountPoint).toBe('/mnt/日本😀');
    expect(parseMountTable(line('/m\xff\xc3'))[0]?.mountPoint).toBe('/m\udcff\udcc3');
    expect(parseMountTable(line('/m\xed\xb3\xbf'))[0]?.mountPoint).toBe('/m\udced\udcb3\udcbf');
    expect(parseMountTable(asRead(line('/m\ufeff')))[0]?.mountPoint).toBe('/m\ufeff');
  });

  it('keeps an empty source and a namespace’s root', () => {
    expect(parseMountTable('1 2 0:3 net:[4026531833] /run/netns/x rw - nsfs  rw\n')[0]).toMatchObject({
      root: 'net:[4026531833]',
      source: '',
    });
  });

  it.each([
    '',
    'x',
    '36 35 98:0 / /broken rw',
    '36 35 98:0 / /broken rw - ext4 /dev/root',
    '36 35 98:0 / /broken rw - ext4 /dev/root rw more',
    '36 35 98:0 / /broken rw shared:1 ext4 /dev/root rw',
    'x 35 98:0 / /broken rw - ext4 /dev/root rw',
    '36 -1 98:0 / /broken rw - ext4 /dev/root rw',
    '36 35 98 / /broken rw - ext4 /dev/root rw',
    '36 35 98:0 / broken rw - ext4 /dev/root rw',
    '- - - - - - - - - -',
  ])('leaves out a malformed line and no other: %j', (broken) => {
    const points = parseMountTable(`${line('/a')}${broken}\n${line('/b')}`).map((entry) => entry.mountPoint);
    expect(points).toEqual(['/a', '/b']);
  });

  it('reads a last line without its newline, and nothing from nothing', () => {
    expect(parseMountTable(line('/a').trimEnd())).toHaveLength(1);
    expect(parseMountTable('')).toEqual([]);
    expect(parseMountTable('\n\n')).toEqual([]);
  });

  it('takes a dash for the separator only where one can stand', () => {
    expect(parseMountTable('36 35 98:0 - /a - - tmpfs - rw\n')[0]).toMatchObject({
      root: '-',
      options: ['-'],
      source: '-',
    });
  });

  it('agrees with this machine’s table', () => {
    const text = readFileSync('/proc/self/mountinfo', 'latin1');
    expect(parseMountTable(text)).toHaveLength(text.trimEnd().split('\n').length);
  });
});

describe('the filter by directory', () => {
  it('keeps what is at, below or above, however it is written, and drops the rest', () => {
    const text = asRead(
      [
        line('/'),
        line('/var'),
        line('/var/b é'.replace(' ', String.raw`\040`)),
        line('/var/b é/leaf'.replace(' ', String.raw`\040`)),
        line('/var/b é2'.replace(' ', String.raw`\040`)),
        line('/va'),
        line('/home'),
      ].join(''),
    );
    expect(parseMountTable(text, ['/var/b é']).map((entry) => entry.mountPoint)).toEqual([
      '/',
      '/var',
      '/var/b é',
      '/var/b é/leaf',
    ]);
    expect(parseMountTable(text, [])).toEqual([]);
  });

  it('takes several directories and names that are not UTF-8', () => {
    const text = line('/a/1') + line('/b/\xff') + line('/c');
    expect(parseMountTable(text, ['/a', '/b/\udcff']).map((entry) => entry.mountPoint)).toEqual(['/a/1', '/b/\udcff']);
  });

  it('finds one base among 10,000 mounts quickly', () => {
    const text = Array.from({ length: 10_000 }, (_, n) => line(`/base/${n.toString(16).padStart(32, '0')}`)).join('');
    const began = performance.now();
    expect(parseMountTable(text)).toHaveLength(10_000);
    expect(parseMountTable(text, ['/other'])).toHaveLength(0);
    // Takes about 30 ms; ten times that on a busy machine, and never quadratic.
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
