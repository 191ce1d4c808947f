import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { argumentVector } from '../../../src/core/argv.js';
import { quobyte } from '../../../src/backends/quobyte.js';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseMountTable, type MountEntry } from '../../../src/core/mountinfo.js';
import { leafOf } from '../../../src/core/volume.js';
import type { ProbeFacts } from '../../../src/core/verdict.js';
import { quobyteSettings } from '../../unit/backends/settings.js';

const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.constantFrom('reg1', 'REG1', 'reg2', 'Reg3'),
);
const registry = fc
  .tuple(host, fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: null }))
  .map(([name, port]) => (port === null ? name : `${name}:${port}`));
const registries = fc.array(registry, { minLength: 1, maxLength: 5 });
const volumeName = fc.stringMatching(/^[a-zA-Z0-9_é日][a-zA-Z0-9é日._+=@~:-]{0,20}$/);

function entry(source: string): MountEntry {
  const line = `7 1 0:9 / /m rw - fuse.quobyte ${Buffer.from(source).toString('latin1')} rw,user_id=0\n`;
  const [read] = parseMountTable(line);
  if (read === undefined) throw new Error('the test’s own line is malformed');
  return read;
}

describe('a Quobyte volume', () => {
  it('is accepted in every spelling the grammar knows, and kept as it is', () => {
    fc.assert(
      fc.property(registries, volumeName, (list, name) => {
        const text = `${list.join(',')}/${name}`;
        expect(parseVolume(text).export).toBe(text);
        expect(parseVolume(`quobyte://${text}`)).toEqual(parseVolume(text));
      }),
      { numRuns: 1000 },
    );
  });

  it('is recognised in any order, case and separator of its registries', () => {
    const shuffled = registries.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    fc.assert(
      fc.property(
        shuffled,
        volumeName,
        fc.constantFrom('|', ','),
        fc.boolean(),
        ([list, order], name, separator, upper) => {
          const shown = order.join(separator);
          const found = entry(`quobyte@${upper ? shown.toUpperCase() : shown}/${name}`);
          expect(quobyte.recognises(found, parseVolume(`${list.join(',')}/${name}`))).toBe(true);
          expect(quobyte.recognises(found, parseVolume(`${list.join(',')}/${name}x`))).toBe(false);
          expect(quobyte.recognises(found, parseVolume(`${list.join(',')},one-more.example/${name}`))).toBe(false);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is found by its leaf from the table', () => {
    const shuffled = registries.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, volumeName, ([list, order], name) => {
        const { leaf } = parseVolume(`${list.join(',')}/${name}`);
        const candidates = quobyte.candidateExports(entry(`quobyte@${order.join('|')}/${name}`), []);
        expect(candidates.map(leafOf)).toContain(leaf);
        for (const candidate of candidates) expect(quobyte.parseExport(candidate, 'url')).toBe(candidate);
      }),
      { numRuns: 200 },
    );
  });

  it('gives an argv in which only our own words are options', () => {
    fc.assert(
      fc.property(registries, volumeName, (list, name) => {
        const volume = parseVolume(`${list.join(',')}/${name}`);
        const way = quobyte.mountWay(volume, quobyteSettings({ clientConfig: '/etc/q.cfg' }), '/m');
        if (way.way !== 'helper') throw new Error('Quobyte is mounted by a helper');
        expect(argumentVector(way.args).filter((word) => word.startsWith('-'))).toEqual(['--disable-xattrs', '-c']);
        expect(way.args).toHaveLength(5);
      }),
    );
  });

  it('is never recognised, and never throws, on a table of nonsense', () => {
    const volume = parseVolume('reg1/vol');
    fc.assert(
      fc.property(
        fc.record({ source: fc.string({ unit: 'binary' }), fsType: fc.constantFrom('fuse', 'fuse.quobyte', 'tmpfs') }),
        (change) => {
          const odd = { ...entry('x'), ...change };
          expect(quobyte.recognises(odd, volume)).toBe(false);
          for (const found of quobyte.candidateExports(odd, [])) expect(quobyte.parseExport(found, 'url')).toBe(found);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('the judgement', () => {
  const errno = fc.constantFrom(
    'ENOTCONN',
    'ESTALE',
    'EIO',
    'EACCES',
    'EPERM',
    'EROFS',
    'ETIMEDOUT',
    'ENOENT',
    'EODD',
    'not an errno',
  );
  const right = fc.oneof(
    fc.constant('granted' as const),
    fc.constant('not-asked' as const),
    errno.map((code) => ({ errno: code })),
  );
  const facts: fc.Arbitrary<ProbeFacts> = fc
    .record({
      statfs: fc.oneof(
        fc.constant({ end: 'answered' as const }),
        fc.constant({ end: 'hung' as const }),
        errno.map((code) => ({ end: 'failed' as const, errno: code })),
      ),
      root: fc.option(
        fc.record({ isDirectory: fc.boolean(), size: fc.nat(3), dev: fc.constant('0:9'), mode: fc.nat(0o777) }),
        { nil: null },
      ),
      rootError: fc.option(errno, { nil: null }),
      write: right,
      search: right,
      witness: fc.constantFrom('present', 'absent', 'not-asked'),
    })
    .map(({ root, rootError, ...rest }) => ({
      ...rest,
      ...(root === null ? {} : { root }),
      ...(rootError === null ? {} : { rootError }),
    }));

  it('is healthy only with an answer and the rights, and dead only by errno of the mount itself', () => {
    fc.assert(
      fc.property(
        facts,
        fc.constantFrom('read-write', 'read-only'),
        fc.constantFrom('warn', 'require'),
        (seen, access, rootSize) => {
          const judged = quobyte.judge(seen, access, quobyteSettings({ rootSize }));
          expect(judged.reason).toMatch(/^[A-Z].*\.$/);
          expect(judged.reason).not.toContain('not an errno');
          if (judged.verdict === 'healthy') {
            expect(seen.statfs.end).toBe('answered');
            expect(seen.rootError).toBeUndefined();
            expect(seen.search).toBe('granted');
            if (access === 'read-write') expect(seen.write).toBe('granted');
          }
          const mountErrors = [seen.statfs.end === 'failed' ? seen.statfs.errno : '', seen.rootError ?? ''];
          const gone = mountErrors.some((code) => code === 'ENOTCONN' || code === 'ESTALE');
          expect(judged.dead).toBe(gone && seen.statfs.end !== 'hung');
          expect(judged.verdict === 'hung').toBe(seen.statfs.end === 'hung');
          // The witness may help and never harms.
          const helped = quobyte.judge({ ...seen, witness: 'present' }, access, quobyteSettings({ rootSize }));
          if (judged.verdict === 'healthy') expect(helped.verdict).toBe('healthy');
        },
      ),
      { numRuns: 3000 },
    );
  });
});
