// The benchmark (bench/main.ts), in namespaces of its own, with what it needs installed. Standard output has only figures;
// they are kept in .cache/bench.jsonl too. `make bench` for all of it, BENCH_QUICK=1 make bench for a smoke.

import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ISOLATED } from './isolated.mjs';
import { installOnly } from './packages.mjs';
import { ROOT } from './stages.mjs';

if (process.geteuid() !== 0) {
  process.stderr.write('This mounts filesystems, in a mount namespace of its own, so it must be run as root.\n');
  process.exit(4);
}
const lacking = await installOnly('python3-nova');
if (lacking !== null) {
  process.stderr.write(`Nova is compared with, and cannot be had: ${lacking}\n`);
  process.exit(1);
}
const [unshare, ...words] = [...ISOLATED, process.execPath, join(ROOT, 'dist/bench/main.js')];
const child = spawn(unshare, words, { stdio: ['ignore', 'pipe', 'inherit'] });
mkdirSync(join(ROOT, '.cache'), { recursive: true });
child.stdout.pipe(createWriteStream(join(ROOT, '.cache/bench.jsonl')));
child.stdout.pipe(process.stdout);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (status) => {
  process.exitCode = status ?? 1;
});
