import { describe, expect, it } from 'vitest';
import { parseMountTable } from '../../../src/core/mountinfo.js';
import { mountTree } from '../../../src/core/mount-tree.js';

type Row = readonly [id: number, parent: number, mountPoint: string];

function tree(rows: readonly Row[]): ReturnType<typeof mountTree> {
  const text = rows.map(([id, parent, point]) => `${id} ${parent} 0:${id} / ${point} rw - tmpfs none rw\n`).join('');
  return mountTree(parseMountTable(text));
}

function at(rows: readonly Row[], path: string): readonly number[] {
  return tree(rows)
    .at(path)
    .map((entry) => entry.mountId);
}

const root: Row = [1, 0, '/'];

describe('mounts at a path', () => {
  it('are found by the exact path', () => {
    const rows: Row[] = [root, [2, 1, '/base/v'], [3, 1, '/base/v2'], [4, 1, '/base/v/sub']];
    expect(at(rows, '/base/v')).toEqual([2]);
    expect(at(rows, '/base')).toEqual([]);
    expect(at(rows, '/')).toEqual([1]);
    expect(at(rows, '/base/v/sub')).toEqual([]);
  });

  it('are stacked by their parents, whatever the order of the table', () => {
    const rows: Row[] = [root, [9, 1, '/m'], [5, 9, '/m'], [7, 5, '/m']];
    expect(at(rows, '/m')).toEqual([9, 5, 7]);
    expect(at([...rows].reverse(), '/m')).toEqual([9, 5, 7]);
  });

  it('are not those that another mount hides', () => {
    const rows: Row[] = [root, [2, 1, '/base'], [3, 2, '/base/leaf'], [4, 2, '/base']];
    expect(at(rows, '/base/leaf')).toEqual([]);
    expect(at([...rows, [5, 4, '/base/leaf']], '/base/leaf')).toEqual([5]);
  });

  it('are hidden by a mount over a parent directory, even one that came later', () => {
    const rows: Row[] = [root, [2, 1, '/a/b/leaf'], [3, 1, '/a']];
    expect(at(rows, '/a/b/leaf')).toEqual([]);
  });

  it('are found where the root is not in the table, as in a chroot', () => {
    expect(
      at(
        [
          [5, 4, '/m'],
          [6, 5, '/m'],
        ],
        '/m',
      ),
    ).toEqual([5, 6]);
    expect(
      at(
        [
          [5, 5, '/'],
          [6, 5, '/m'],
        ],
        '/m',
      ),
    ).toEqual([6]);
  });

  it('end, in a table whose parents form a circle', () => {
    expect(at([root, [2, 3, '/m'], [3, 2, '/m']], '/m')).toEqual([]);
    expect(
      at(
        [
          [2, 3, '/m'],
          [3, 2, '/m'],
          [4, 9, '/m'],
          [2, 4, '/m'],
        ],
        '/m',
      ).length,
    ).toBeLessThanOrEqual(4);
  });
});

describe('mounts below a directory', () => {
  it('are all of them, component by component, hidden ones too', () => {
    const rows: Row[] = [root, [2, 1, '/base'], [3, 2, '/base/x'], [4, 2, '/base'], [5, 1, '/base2/x']];
    expect(
      tree(rows)
        .below('/base')
        .map((entry) => entry.mountId),
    ).toEqual([3]);
  });
});
