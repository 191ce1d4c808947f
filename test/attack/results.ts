// Results of test runs, as vitest's JSON reporter writes them.

import { readFileSync } from 'node:fs';

/** One test that was run, by its whole name. */
export interface Ran {
  /** Relative to the tree that was tested. */
  readonly file: string;
  /** `suite > test`, placeholders filled in. */
  readonly name: string;
  /** `passed`, `failed`, or why it was not run. */
  readonly status: string;
}

interface Written {
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
    }[];
  }[];
}

/** The tests of one run over the tree at `root`. Throws where the file is none, or is not a run's. */
export function readResults(path: string, root: string): readonly Ran[] {
  const { testResults } = JSON.parse(readFileSync(path, 'utf8')) as Written;
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ ancestorTitles, title, status }) => ({
      file: name.slice(root.length + 1),
      name: [...ancestorTitles, title].join(' > '),
      status,
    })),
  );
}
