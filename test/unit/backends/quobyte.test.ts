import { describe, expect, it } from 'vitest';
import { option } from '../../../src/core/argv.js';
import { quobyte } from '../../../src/backends/quobyte.js';
import { parseVolume } from '../../../src/backends/registry.js';
import { FairleadError } from '../../../src/core/errors.js';
import { parseMountTable, type MountEntry } from '../../../src/core/mountinfo.js';
import { leafOf } from '../../../src/core/volume.js';
import { quobyteSettings } from './settings.js';

const volume = Object.freeze(parseVolume('quobyte://reg1:7861,reg2/vol'));
const mountpoint = `/var/lib/fairlead/mnt/quobyte/${volume.leaf}`;

function entry(source: string, change: { type?: string; root?: string; user?: number } = {}): MountEntry {
  const text = `36 35 0:52 ${change.root ?? '/'} ${mountpoint} rw - ${change.type ?? 'fuse.quobyte'} ${source} rw,user_id=${change.user ?? 0},group_id=0\n`;
  const [read] = parseMountTable(Buffer.from(text).toString('latin1'));
  if (read === undefined) throw new Error('the test’s own line is malformed');
  return read;
}

describe('the helper’s command line', () => {
  it('is exact, without and with a client configuration', () => {
    expect(quobyte.mountWay(volume, quobyteSettings(), mountpoint)).toEqual({
      way: 'helper',
      program: '/usr/sbin/mount.quobyte',
      args: [option('--disable-xattrs'), 'reg1:7861,reg2/vol', mountpoint],
    });
    const configured = quobyteSettings({ clientConfig: '/etc/quobyte/client.cfg' });
    expect(quobyte.mountWay(volume, configured, mountpoint)).toMatchObject({
      args: [option('--disable-xattrs'), 'reg1:7861,reg2/vol', mountpoint, option('-c'), '/etc/quobyte/client.cfg'],
    });
  });

  it('unmounts by umount2 unless a helper is configured', () => {
    expect(quobyte.unmountCommand(quobyteSettings(), mountpoint)).toBeNull();
    expect(quobyte.unmountCommand(quobyteSettings({ unmountHelper: '/usr/bin/umount.quobyte' }), mountpoint)).toEqual({
      program: '/usr/bin/umount.quobyte',
      args: [mountpoint],
    });
  });
});

describe('authorisation', () => {
  it.each([
    [[], true],
    [['reg1', 'reg2'], true],
    [['REG2:7861', 'reg1:7861', 'other'], true],
    [['reg1'], false],
    [['reg1:1', 'reg2'], false],
    [['reg'], false],
  ])('with registries %j: %s', (registries, allowed) => {
    const act = (): void => quobyte.authorise(volume, quobyteSettings({ registries }));
    if (allowed) expect(act).not.toThrow();
    else {
      expect(act).toThrow(FairleadError);
      try {
        act();
      } catch (error) {
        expect(error).toMatchObject({ code: 'permission-denied', field: 'url', leaf: volume.leaf });
        expect(String(error)).not.toMatch(/reg1|reg2|vol\b/);
      }
    }
  });
});

describe('recognition', () => {
  it.each([
    'quobyte@reg1:7861|reg2/vol',
    'quobyte@reg2|reg1/vol',
    'quobyte@reg2:7861,reg1/vol',
    'quobyte@REG1|Reg2:7861/vol',
    'quobyte@reg1|reg2|reg1:7861/vol',
    String.raw`quobyte@reg1\174reg2/vol`,
  ])('knows its volume as %s', (source) => {
    expect(quobyte.recognises(entry(source), volume)).toBe(true);
    expect(quobyte.recognises(entry(source, { type: 'fuse' }), volume)).toBe(true);
  });

  it.each([
    'quobyte@reg1/vol',
    'quobyte@reg1|reg2|reg3/vol',
    'quobyte@reg1|reg3/vol',
    'quobyte@reg1:1|reg2/vol',
    'quobyte@reg1|reg2/vol2',
    'quobyte@reg1|reg2/Vol',
    'quobyte@reg1|reg2/vo',
    'quobyte@reg1|reg2/vol/sub',
    'quobyte@reg1|reg2/',
    'quobyte@/vol',
    'quobyte@|/vol',
    'Quobyte@reg1|reg2/vol',
    'quobyte@quobyte@reg1|reg2/vol',
    'reg1|reg2/vol',
    'xquobyte@reg1|reg2/vol',
    String.raw`quobyte@reg1|reg2/vol\040`,
    String.raw`quobyte@reg1|reg2/vol\012`,
    'none',
  ])('does not take %s for it', (source) => {
    expect(quobyte.recognises(entry(source), volume)).toBe(false);
  });

  it('is not one whose mount another user than root has made, whatever its source says', () => {
    const text = 'quobyte@reg1|reg2:7861/vol';
    expect(quobyte.recognises(entry(text), volume)).toBe(true);
    for (const user of [1000, 10, 65534]) {
      expect(quobyte.recognises(entry(text, { user }), volume)).toBe(false);
      expect(quobyte.candidateExports(entry(text, { user }), [])).toEqual([]);
    }
  });

  it.each(['tmpfs', 'fuse.bindfs', 'fuse.quobyte2', 'fuseblk', 'FUSE', 'ext4', ''])(
    'is not taken in by a label on %j',
    (type) => {
      const forged = { ...entry('quobyte@reg1|reg2/vol'), fsType: type };
      expect(quobyte.recognises(forged, volume)).toBe(false);
      expect(quobyte.candidateExports(forged, [])).toEqual([]);
    },
  );

  it('is not taken in by a bind of a directory of the volume', () => {
    expect(quobyte.recognises(entry('quobyte@reg1|reg2/vol', { root: '/sub' }), volume)).toBe(false);
  });

  it('compares IPv6 addresses, not their spelling', () => {
    const six = parseVolume('quobyte://[fd00::1],[::2]:7861/v');
    expect(quobyte.recognises(entry('quobyte@[0:0::2]|[FD00:0::0001]:7861/v'), six)).toBe(true);
    expect(quobyte.recognises(entry('quobyte@[0:0::2]|[fd00::3]/v'), six)).toBe(false);
  });

  it('compares names of any script exactly', () => {
    const named = parseVolume('quobyte://r/Grüße');
    expect(quobyte.recognises(entry('quobyte@r/Grüße'), named)).toBe(true);
    expect(quobyte.recognises(entry('quobyte@r/Gru\u0308ße'), named)).toBe(false);
    expect(quobyte.recognises({ ...entry('quobyte@r/v'), source: 'quobyte@r/Gr\udcfcße' }, named)).toBe(false);
  });
});

describe('finding a mount’s name by its leaf', () => {
  it('tries every order of up to five registries', () => {
    const given = parseVolume('e,d:7861,c,b,a/v');
    const leaves = quobyte.candidateExports(entry('quobyte@a|b|c|d:7861|e/v'), []).map(leafOf);
    expect(leaves).toHaveLength(120);
    expect(leaves).toContain(given.leaf);
  });

  it('keeps to the table’s order beyond that', () => {
    expect(quobyte.candidateExports(entry('quobyte@a|b|c|d|e|f/v'), [])).toEqual(['a,b,c,d,e,f/v']);
  });

  it('gives only what parses as an export', () => {
    for (const source of [
      'none',
      'quobyte@-o/v',
      'quobyte@r/-v',
      'quobyte@r/v/w',
      'quobyte@r/v\ufe0f',
      'quobyte@a:pw@r/v',
    ]) {
      expect(quobyte.candidateExports(entry(source), [])).toEqual([]);
    }
    for (const found of quobyte.candidateExports(entry('quobyte@[::1]:9|r/v'), [])) {
      expect(quobyte.parseExport(found, 'url')).toBe(found);
    }
  });
});

describe('a helper’s failure', () => {
  const secret = 'SECRET quobyte://reg1/vol';

  it.each([
    [{ status: 1, signal: null, output: `${secret}: Permission denied` }, /status 1.*credentials/],
    [{ status: 4, signal: null, output: '' }, /status 4.*journal/],
    [{ status: 32, signal: null, output: `volume ${secret} not found` }, /status 32.*name of the volume/],
    [{ status: 1, signal: null, output: `${secret} Connection timed out` }, /registries were not reached/],
    [{ status: 1, signal: null, output: `fuse: device not opened ${secret}` }, /\/dev\/fuse/],
    [{ status: 1, signal: null, output: `fuse: device not found, try 'modprobe fuse' first` }, /trouble with FUSE/],
    [{ status: 1, signal: null, output: 'sh: 1: fusermount3: not found' }, /fusermount3 is missing/],
    [{ status: 1, signal: null, output: 'fusermount3: command not found' }, /fusermount3 is missing/],
    [
      { status: 1, signal: null, output: 'fuse: failed to exec fusermount: No such file or directory' },
      /fusermount3 is missing/,
    ],
    [{ status: 127, signal: null, output: 'xyz: command not found' }, /a program that it needs is missing/],
    [{ status: 1, signal: null, output: 'cannot open /dev/fuse: Permission denied' }, /trouble with FUSE/],
    [{ status: 1, signal: null, output: `${secret}: Name or service not known` }, /name of a registry.*resolv/],
    [{ status: 1, signal: null, output: 'Temporary failure in name resolution' }, /name of a registry.*resolv/],
    [{ status: 1, signal: null, output: 'No address associated with hostname' }, /name of a registry.*resolv/],
    [{ status: 1, signal: null, output: 'getaddrinfo: host not found' }, /name of a registry.*resolv/],
    [{ status: 1, signal: null, output: 'No space left on device' }, /disk is full/],
    [{ status: 1, signal: null, output: 'fork: Resource temporarily unavailable' }, /no more processes/],
    [{ status: 1, signal: null, output: 'no such volume' }, /name of the volume/],
    [{ status: 0, signal: null, output: secret }, /success.*did not appear/],
    [{ status: null, signal: 'SIGSEGV', output: secret }, /SIGSEGV/],
    [{ status: null, signal: `SIG ${secret}`, output: '' }, /ended by a signal/],
    [{ status: null, signal: null, output: secret }, /not known/],
  ])('says how it ended and what to look at: %j', (failure, words) => {
    const { code, message } = quobyte.explainFailure(failure);
    expect(code).toBe('helper-failed');
    expect(message).toMatch(words);
    expect(message).not.toContain('SECRET');
  });
});
