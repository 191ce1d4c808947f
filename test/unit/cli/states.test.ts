// docs/states.md explains every word that `ls` can show.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { listReply } from '../../../src/doors/http/schemas.js';

const page = readFileSync(new URL('../../../docs/states.md', import.meta.url), 'utf8');

/** Words of the first column of the table below a heading. */
function rowsBelow(heading: string): readonly string[] {
  const [, section = ''] = page.split(`\n## ${heading}\n`);
  const [table = ''] = section.split('\n## ');
  return [...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, word = '']) => word);
}

const { state, verdict } = listReply.shape.mounts.unwrap().element.shape;

test('every state and every verdict has a row, and no other word', () => {
  expect([...rowsBelow('STATE')].sort()).toEqual([...state.options].sort());
  expect([...rowsBelow('VERDICT')].sort()).toEqual([...verdict.unwrap().options].sort());
});
