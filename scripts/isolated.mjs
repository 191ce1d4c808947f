// Runs a program in mount and process namespaces of its own, so that nothing it mounts or starts outlives it:
// node scripts/isolated.mjs PROGRAM [ARGUMENT …]. Needs root.

import { spawn } from 'node:child_process';

/** The words that stand before a program to isolate it. */
export const ISOLATED = [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
];

if (import.meta.url === new URL(process.argv[1], 'file:').href) {
  if (process.geteuid() !== 0) {
    process.stderr.write('This mounts filesystems, in a mount namespace of its own, so it must be run as root.\n');
    process.exit(4);
  }
  const [program, ...words] = [...ISOLATED, ...process.argv.slice(2)];
  const child = spawn(program, words, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('exit', (status) => {
    process.exitCode = status ?? 1;
  });
}
