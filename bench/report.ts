// Writes the figures of a run into docs/benchmarks.md, between two marks; nothing there is typed by hand:
// node dist/bench/report.js [FILE]; FILE is what `make bench` printed, .cache/bench.jsonl by default.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../test/rig/programs.js';
import { intoPage } from './page.js';
import type { Line } from './tables.js';

const PAGE = join(ROOT, 'docs/benchmarks.md');

const file = process.argv[2] ?? join(ROOT, '.cache/bench.jsonl');
const lines = readFileSync(file, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line) as Line);
writeFileSync(PAGE, intoPage(readFileSync(PAGE, 'utf8'), lines));
