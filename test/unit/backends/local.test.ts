import { describe, expect, it } from 'vitest';
import { local } from '../../../src/backends/local.js';
import { parseVolume } from '../../../src/backends/registry.js';
import type { FairleadError } from '../../../src/core/errors.js';
import { parseMountTable } from '../../../src/core/mountinfo.js';
import { localSettings } from './settings.js';

const volume = parseVolume('local:///srv/pool/name');

describe('a local volume', () => {
  it.each([
    [['/srv/pool'], true],
    [['/srv'], true],
    [['/other', '/srv/pool'], true],
    [['/srv/pool/name'], false],
    [['/srv/poo'], false],
    [['/srv/pool/name/below'], false],
    [[], false],
  ])('is allowed strictly below a root: %j %s', (roots, allowed) => {
    const act = (): void => local.authorise(volume, localSettings(roots));
    if (allowed) expect(act).not.toThrow();
    else expect(act).toThrow(expect.objectContaining({ code: 'permission-denied', field: 'url' }) as FairleadError);
  });

  it('is bound, never mounted or unmounted by a helper', () => {
    expect(local.mountWay(volume, localSettings(['/srv']), '/m')).toEqual({
      way: 'bind',
      source: '/srv/pool/name',
      roots: ['/srv'],
    });
    expect(local.unmountCommand(localSettings([]), '/m')).toBeNull();
  });

  it('is never recognised by what the table says: a directory is not its name', () => {
    const [entry] = parseMountTable('36 35 8:1 /pool/name /m rw - ext4 /dev/sda1 rw\n');
    expect(local.identifiedBySource).toBe(true);
    expect(local.recognises(entry!, volume)).toBe(false);
  });

  it('may be any directory at whose path the host shows it, if the path is one of a local volume', () => {
    const [entry] = parseMountTable('36 35 8:1 /pool/name /m rw - ext4 /dev/sda1 rw\n');
    expect(local.candidateExports(entry!, ['/srv/pool/name', '/other/pool/name'])).toEqual([
      '/srv/pool/name',
      '/other/pool/name',
    ]);
    expect(local.candidateExports(entry!, ['/srv/a b', '/srv/x//deleted', '/srv/-o'])).toEqual([]);
    expect(local.candidateExports(entry!, [])).toEqual([]);
  });

  it('is judged without regard to the size of its root', () => {
    const facts = {
      statfs: { end: 'answered' },
      root: { isDirectory: true, size: 4096, dev: '8:1', mode: 0o40755 },
      write: 'granted',
      search: 'granted',
      witness: 'not-asked',
    } as const;
    expect(local.judge(facts, 'read-write', localSettings([])).verdict).toBe('healthy');
    expect(
      local.judge({ ...facts, statfs: { end: 'failed', errno: 'ESTALE' } }, 'read-write', localSettings([])),
    ).toMatchObject({ verdict: 'stale', dead: true });
  });
});
