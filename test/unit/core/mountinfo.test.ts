import { readFileSync } from 'node:fs';
import { memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { mountTableParser, parseMountTable } from '../../../src/core/mountinfo.js';

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

describe('a table that is read again', () => {
  it('gives the same entries for the same lines, and none for lines that are gone', () => {
    const parse = mountTableParser();
    const [a, b] = parse(line('/a') + line('/b'));
    expect(parse(line('/b') + line('/c'))).toEqual([b, expect.objectContaining({ mountPoint: '/c' })]);
    expect(parse(line('/b') + line('/a'))[0]).toBe(b);
    expect(parse(line('/a'))).toEqual([a]);
    expect(parse('')).toEqual([]);
  });

  it('takes no line for another that only looks like it', () => {
    const parse = mountTableParser();
    parse(line('/a', 'quobyte@r/v', { id: 1 }));
    expect(parse(line('/a', 'quobyte@r/v', { id: 2 }))[0]?.mountId).toBe(2);
    expect(parse(line('/a', 'quobyte@r/w', { id: 2 }))[0]?.source).toBe('quobyte@r/w');
  });

  it('keeps no table alive that is gone', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const parse = mountTableParser();
    const lines: string[] = [];
    let entries: readonly unknown[] = [];
    for (let n = 0; n < 600; n += 1) {
      lines.push(line(`/base/${n}`, `quobyte@r/${'v'.repeat(200)}`));
      entries = parse(asRead(lines.join('')));
    }
    collect();
    const before = memoryUsage().heapUsed;
    // Each table is up to 180 kB; without care all 600 of them stay, some 50 MB.
    expect(entries).toHaveLength(600);
    entries = parse('');
    collect();
    expect(before - memoryUsage().heapUsed).toBeLessThan(10_000_000);
  });

  it('is quick with 10,000 mounts', () => {
    const lines = Array.from({ length: 10_000 }, (_, n) => line(`/base/${n.toString(16).padStart(32, '0')}`));
    const parse = mountTableParser();
    const began = performance.now();
    expect(parse(lines.join(''))).toHaveLength(10_000);
    expect(parse(lines.slice(1).join(''))).toHaveLength(9999);
    // Takes about 40 ms; far more than that on a busy machine, and never quadratic.
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
