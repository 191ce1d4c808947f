// The tables of docs/nova-deviations.md as data, so that what is written there is what the tests hold to.

/** One line of a table: its first cell, and the others. */
export interface Deviation {
  readonly name: string;
  readonly cells: readonly string[];
}

/** The lines of the table under this heading. */
export function deviationsOf(page: string, heading: string): readonly Deviation[] {
  const [, section = ''] = page.split(`## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  return own
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
    .map((line) => line.slice(2, -2).split(' | '))
    .map(([name = '', ...cells]) => ({ name, cells }));
}
