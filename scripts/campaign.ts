// The campaign on real mounts (test/real/truth/campaign): node dist/scripts/campaign.js [ROUNDS [SEED]]. Needs root, and mount and
// process namespaces of its own: node scripts/isolated.mjs node dist/scripts/campaign.js. Prints its seed, each round with
// what was wrong in it, and at the end `N passed, N failed, N skipped`, where a round that never came is skipped.

import { runCampaign } from '../test/real/truth/campaign/campaign.js';

/** Rounds where nothing is said. */
const ROUNDS = 20;

const [rounds, seed] = process.argv.slice(2).map(Number);
const wanted = rounds ?? ROUNDS;
if (![wanted, seed ?? 0].every((number) => Number.isSafeInteger(number) && number >= 0)) {
  process.stderr.write('usage: node dist/scripts/campaign.js [ROUNDS [SEED]]\n');
  process.exit(2);
}
const end = await runCampaign({
  rounds: wanted,
  seed: seed ?? Math.floor(Math.random() * 2 ** 31),
  report: (line) => process.stdout.write(`${line}\n`),
});
const failed = new Set(end.violations.map((violation) => violation.split(':')[0])).size;
for (const violation of end.violations) process.stdout.write(`${violation}\n`);
process.stdout.write(`${end.rounds - failed} passed, ${failed} failed, ${wanted - end.rounds} skipped\n`);
process.exitCode = failed === 0 ? 0 : 1;
