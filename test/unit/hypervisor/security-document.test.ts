// SECURITY.md says of each verb who may call it and why it has to be there; what it says is what the table holds.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { VERBS } from '../../../src/hypervisor/verbs.js';

it('SECURITY.md lists exactly the verbs of the hypervisor process, with callers and reasons', () => {
  const text = readFileSync(new URL('../../../SECURITY.md', import.meta.url), 'utf8');
  const section = /## The hypervisor process's verbs\n([\s\S]*?)\n## /.exec(text)?.[1] ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows).toEqual(
    Object.entries(VERBS).map(([name, { callers, reason }]) => `| \`${name}\` | ${callers.join(', ')} | ${reason} |`),
  );
});
