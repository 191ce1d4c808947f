import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mountTableParser, parseMountTable } from '../../../src/core/mountinfo.js';
import { mountTree } from '../../../src/core/mount-tree.js';

/** What the kernel does to a name (mangle(), seq_path()): UTF-8 bytes, four characters and # as octal, read as latin1. */
function written(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('latin1')
    .replace(/[ \t\n\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

function lineOf(mountPoint: string, source: string, id = 7): string {
  return `${id} 1 0:9 / ${mountPoint} rw shared:1 - fuse.quobyte ${source} rw\n`;
}

const name = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => !/\p{Cs}|\0/u.test(text)),
  fc.constantFrom('a b', 'a\tb', 'a\nb', 'a\\b', 'a#b', 'a\\040b', '日本', ' ', '\\'),
);
const bytes = fc.uint8Array({ maxLength: 24 }).map((array) => array.filter((byte) => byte !== 0));

describe('a name in the mount table', () => {
  it('is read back as it was', () => {
    fc.assert(
      fc.property(name, name, (point, source) => {
        const [entry] = parseMountTable(lineOf(written(Buffer.from(`/${point}`)), written(Buffer.from(source))));
        expect(entry?.mountPoint).toBe(`/${point}`);
        expect(entry?.source).toBe(source);
      }),
      { numRuns: 2000 },
    );
  });

  it('is told apart from every other, UTF-8 or not', () => {
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        const [first, second] = [one, other].map((array) => parseMountTable(lineOf('/m', written(array)))[0]?.source);
        expect(first === second).toBe(Buffer.from(one).equals(Buffer.from(other)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a table', () => {
  it('is read whatever it contains, and a broken line hides no good one', () => {
    const broken = fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.replaceAll('\n', ' '));
    fc.assert(
      fc.property(fc.array(fc.option(broken, { nil: null }), { maxLength: 10 }), (lines) => {
        const text = lines.map((line, index) => (line === null ? lineOf(`/good${index}`, 'x') : `${line}\n`)).join('');
        const points = parseMountTable(text).map((entry) => entry.mountPoint);
        for (const [index, line] of lines.entries()) if (line === null) expect(points).toContain(`/good${index}`);
      }),
      { numRuns: 1000 },
    );
  });

  it('is read the same whatever was read before', () => {
    const line = fc.oneof(
      fc.constantFrom('/a', '/b', '/c', '/d').map((point) => lineOf(point, 'x')),
      fc.string({ unit: 'binary', maxLength: 9 }),
    );
    const tables = fc.array(
      fc.array(line, { maxLength: 6 }).map((lines) => lines.join('')),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(tables, (texts) => {
        const parse = mountTableParser();
        for (const text of texts) expect(parse(text)).toEqual(parseMountTable(text));
      }),
    );
  });

  it('gives the same stacks in any order of its lines', () => {
    const points = ['/', '/a', '/a/b', '/a/b/c', '/d'] as const;
    // Mounts made one after the other by walking: each lands on what is visible at its path then.
    const history = fc.array(fc.constantFrom(...points.slice(1)), { maxLength: 12 });
    fc.assert(
      fc.property(
        history.chain((made) =>
          fc.tuple(
            fc.constant(made),
            fc.shuffledSubarray(
              made.map((_, n) => n),
              { minLength: made.length },
            ),
          ),
        ),
        ([made, order]) => {
          const lines = ['2 1 0:2 / / rw - tmpfs x rw\n'];
          for (const [n, point] of made.entries()) {
            const now = mountTree(parseMountTable(lines.join('')));
            const above = points.filter((p) => p === '/' || p === point || point.startsWith(`${p}/`)).reverse();
            const parent = above.map((p) => now.at(p).at(-1)).find((entry) => entry !== undefined);
            expect(parent).toBeDefined();
            lines.push(`${n + 10} ${parent?.mountId ?? 0} 0:${n + 10} / ${point} rw - tmpfs x rw\n`);
            // The newest mount is always the visible one.
            expect(
              mountTree(parseMountTable(lines.join('')))
                .at(point)
                .at(-1)?.mountId,
            ).toBe(n + 10);
          }
          const one = mountTree(parseMountTable(lines.join('')));
          const other = mountTree(parseMountTable([...order.map((n) => lines[n + 1] ?? ''), lines[0] ?? ''].join('')));
          for (const point of points) expect(other.at(point)).toEqual(one.at(point));
        },
      ),
      { numRuns: 300 },
    );
  });
});
