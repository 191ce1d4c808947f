// The claims as a page for people: docs/claims.md is made of this and of nothing else.

import type { Claim } from './claims.js';

const HEAD = `# What was claimed, and what became of it

<!-- Made from test/attack/claims.json by scripts/claims-report.ts: change it there. -->

Five security reviews of the driver that Fairlead takes the place of made 87 claims. Some were true of it, some were not,
some were about code that never existed. Each is settled here by tests that would fail if it were true of Fairlead, and
the defects behind them are put back one at a time (\`test/attack/mutants/\`) to see those tests fail. Which tests settle a
claim stands in \`test/attack/claims.json\`; whether they passed is said by \`node dist/scripts/claims-report.js\`, which
says "no known defect" only when all of them did and every defect was caught.
`;

/** The page, in the form in which it is kept. */
export function claimsPage(claims: readonly Claim[]): string {
  const rows = claims.map(({ id, claim, verdict, pillar, requirements, settled, tests }) =>
    [id, claim, verdict, `CWE-${pillar}`, requirements.join(', '), settled, String(tests.length)].map(cell),
  );
  const heads = ['Claim', 'What it says', 'Of the original', 'Class', 'Requirements', 'Here', 'Tests'];
  const lines = [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `${HEAD}\n${lines.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
