// Everything that this host can run: the fast loop, the fast tests on the other supported Node, the simulation, the real
// tests in namespaces of their own, the original defects put back one at a time, and what may be concluded of the claims.
// What cannot run is named with the reason. `prove` runs more seeds, the campaign on real mounts, and the HTTP interface against its
// own description. The last line is `N passed, N failed, N skipped`.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installApiTools } from './api-tools.mjs';
import { fastLoop } from './check.mjs';
import { ISOLATED } from './isolated.mjs';
import { installPackages } from './packages.mjs';
import { check, counted, finish, forgetResults, ROOT, run, skip, vitest } from './stages.mjs';

/** The other Node that is supported, from the npm registry: package node-linux-ARCH, which is nothing but the program. */
const OTHER_NODE = '24.21.0';
/** Seeds of the simulation. */
const SEEDS = { test: 2000, prove: 50_000 };

/** Rounds of the campaign on real mounts, which only `prove` runs. */
const CAMPAIGN_ROUNDS = 200;

/** Requests of each operation of the HTTP interface, which only `prove` makes. */
const API_EXAMPLES = 200;

const mode = process.argv[2] === 'prove' ? 'prove' : 'test';

async function otherNode() {
  const name = `node-linux-${process.arch}`;
  const home = join(ROOT, '.cache/node');
  const program = join(home, 'node_modules', name, 'bin/node');
  const has = async () => existsSync(program) && (await run([program, '--version'])).output.trim() === `v${OTHER_NODE}`;
  if (!(await has())) await run(['npm', 'install', '--no-save', '--prefix', home, `${name}@${OTHER_NODE}`]);
  return (await has()) ? program : null;
}

async function onOtherNode() {
  const name = `fast tests on Node ${OTHER_NODE}`;
  if (process.version === `v${OTHER_NODE}`) return skip(name, 'this is the Node that everything else ran on');
  const node = await otherNode();
  if (node === null) return skip(name, 'it cannot be had from the npm registry now');
  return vitest(name, ['--project', 'fast'], { prefix: [node] });
}

/** Why nothing can be mounted here; null if it can. */
async function whyNoMounts() {
  if (process.geteuid() !== 0) return 'they mount filesystems; run them as root';
  const { status, output } = await run([...ISOLATED, 'true']);
  if (status !== 0) return `namespaces cannot be made here: ${output.trim()}`;
  return existsSync('/dev/fuse') ? null : 'there is no /dev/fuse; modprobe fuse';
}

async function realTests() {
  const why = await whyNoMounts();
  if (why !== null) return skip('real tests', why);
  const lacking = await installPackages();
  if (lacking !== null) process.stdout.write(`       ${lacking}\n`);
  return vitest('real tests', ['--project', 'real'], { prefix: [...ISOLATED, process.execPath] });
}

async function campaign() {
  const why = await whyNoMounts();
  if (why !== null) return skip('campaign on real mounts', why);
  const program = [process.execPath, 'dist/scripts/campaign.js', String(CAMPAIGN_ROUNDS)];
  return counted('campaign on real mounts', [...ISOLATED, ...program]);
}

async function api() {
  const name = 'the HTTP interface by its own description';
  const why = (await whyNoMounts()) ?? (await installApiTools());
  if (why !== null) return skip(name, why);
  return counted(name, [...ISOLATED, process.execPath, 'dist/scripts/api.js', String(API_EXAMPLES)]);
}

forgetResults();
const counts = await fastLoop();
counts.push(await onOtherNode());
counts.push(await vitest('simulation', ['--project', 'sim'], { env: { FAIRLEAD_SIM_SEEDS: String(SEEDS[mode]) } }));
counts.push(await realTests());
if (mode === 'prove') counts.push(await campaign(), await api());
counts.push(await counted('original defects put back', [process.execPath, 'dist/scripts/mutants.js']));
counts.push(await check('claims settled by what ran', [process.execPath, 'dist/scripts/claims-report.js']));
finish(counts);
