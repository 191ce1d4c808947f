// Writes docs/claims.md, and says what may be concluded from the last test runs: node dist/scripts/claims-report.js. In
// come the results that the test runs and the mutants left in .cache/results. Ends with 1 unless nothing stands against
// a clean verdict.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkReport, conclude, readTables } from '../test/attack/claims.js';
import { MUTANTS } from '../test/attack/mutants/table.js';
import { claimsPage } from '../test/attack/page.js';
import { readResults } from '../test/attack/results.js';
import { ROOT } from '../test/rig/programs.js';

const RESULTS = join(ROOT, '.cache/results');
const MUTANTS_FILE = 'mutants.json';

function files(): readonly string[] {
  try {
    return readdirSync(RESULTS).filter((name) => name.endsWith('.json'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

const { claims } = readTables(ROOT);
writeFileSync(join(ROOT, 'docs/claims.md'), claimsPage(claims));

const ran = files()
  .filter((name) => name !== MUTANTS_FILE)
  .flatMap((name) => readResults(join(RESULTS, name), ROOT));
const tried = files().includes(MUTANTS_FILE)
  ? (JSON.parse(readFileSync(join(RESULTS, MUTANTS_FILE), 'utf8')) as readonly {
      readonly name: string;
      readonly fault: string | null;
    }[])
  : [];
const caught = tried.filter(({ fault }) => fault === null).map(({ name }) => name);
const report = conclude({ claims, ran, mutants: MUTANTS, caught });
checkReport(report);
for (const finding of report.findings) process.stdout.write(`${finding}\n`);
process.stdout.write(
  `${claims.length} claims, ${MUTANTS.length} mutants, ${report.findings.length} findings: ${report.verdict}\n`,
);
process.exitCode = report.findings.length === 0 ? 0 : 1;
