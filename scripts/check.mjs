// The fast loop: types, lint, form, import rules and the fast tests. Well under a minute.

import { availableParallelism } from 'node:os';
import { check, finish, programOf, vitest } from './stages.mjs';

const node = process.execPath;

/** The static checks, in the order in which they fail most often. */
export const STATIC_CHECKS = [
  ['types', [node, programOf('typescript', 'tsc'), '-p', 'tsconfig.json']],
  [
    'lint',
    [node, programOf('eslint'), '.', '--cache', '--cache-location', '.cache/eslint', '--cache-strategy', 'content'],
  ],
  [
    'form',
    [
      node,
      programOf('prettier'),
      '--check',
      '.',
      '--cache',
      '--cache-location',
      '.cache/prettier',
      '--log-level',
      'warn',
    ],
  ],
  ['import rules', [node, programOf('dependency-cruiser', 'depcruise'), 'src', '--config', '.dependency-cruiser.cjs']],
];

/** All of it, as counts. */
export async function fastLoop() {
  const queue = [
    () => vitest('fast tests', ['--project', 'fast']),
    ...STATIC_CHECKS.map(
      ([name, command]) =>
        () =>
          check(name, command),
    ),
  ];
  const counts = [];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) counts.push(await next());
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  return counts;
}

if (import.meta.url === new URL(process.argv[1], 'file:').href) finish(await fastLoop());
