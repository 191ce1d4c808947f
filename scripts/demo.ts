// The demonstration: one command, about half a minute, on real mounts. Each step says what it proves and checks it
// against the kernel's own mount table; the first thing that is not as said ends the demonstration with a failure.
// Run it with `make demo`, which gives it mount and process namespaces of its own.

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { alive, Host, leafOfUrl, type Answer, type SeenMount } from '../test/rig/host.js';
import { run } from '../test/rig/programs.js';
import { until } from '../test/rig/until.js';

const ALICE = 'cli:alice';
const BOB = 'cli:bob';
/** Milliseconds within which a connect to another volume must be done while one hangs; its deadline would be 120 s. */
const UNHINDERED_MS = 2000;

let number = 0;

function step(title: string): void {
  number += 1;
  process.stdout.write(`\n${String(number).padStart(2)}. ${title}\n`);
}

function show(line: string): void {
  process.stdout.write(`      ${line}\n`);
}

function prove(what: string, proof: boolean): void {
  if (!proof) throw new Error(`not true: ${what}`);
  process.stdout.write(`    ✓ ${what}\n`);
}

/** Runs a command, shows it, and insists on success. */
async function command(host: Host, ...args: readonly string[]): Promise<Answer['body']> {
  show(`$ fairlead ${args.join(' ')}`);
  const { status, body } = await host.ask(...args);
  if (status !== 0) throw new Error(`fairlead ${args[0] ?? ''} failed with ${String(status)}: ${JSON.stringify(body)}`);
  return body;
}

function mountOf(host: Host, url: string): SeenMount | undefined {
  return host.mounts().find(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`));
}

async function demonstrate(host: Host): Promise<void> {
  const url = await host.volume('guests');
  const disk = 'volume-00001';

  step('Two consumers share one volume');
  const first = await command(host, 'connect', url, '--disk', disk, '--consumer', ALICE);
  const second = await command(host, 'connect', url, '--disk', disk, '--consumer', BOB);
  const mounted = host.mounts().filter(({ mountPoint }) => mountPoint.endsWith(`/${leafOfUrl(url)}`));
  prove('the kernel has exactly one mount for both', mounted.length === 1);
  prove(
    `it is the right one: type ${mounted[0]?.fsType ?? '?'}, below its leaf`,
    mounted[0]?.fsType === 'fuse.quobyte',
  );
  prove('it carries nosuid, nodev, noexec and nosymfollow', hardened(mounted[0]));

  step('A disk is created through one attachment and read through the other');
  const written = await run('/bin/dd', [
    'if=/dev/urandom',
    `of=${String(first['path'])}`,
    'bs=1M',
    'count=4',
    'oflag=direct',
    'conv=fsync',
  ]);
  prove('4 MiB written with O_DIRECT and fsync through the first', written.status === 0);
  const served = readFileSync(join(host.dir, 'volumes/guests', disk));
  prove(
    'read through the second, byte for byte what the server has',
    readFileSync(String(second['path'])).equals(served),
  );

  step('The disk as libvirt would be told of it');
  const { stdout } = await host.fairlead(['disk-config', url, '--disk', disk, '--xml']);
  for (const line of stdout.trimEnd().split('\n')) show(line);
  prove('its source is the disk on the mount', stdout.includes(String(first['path'])));

  step('Agent and broker are killed with SIGKILL');
  const identity = mountOf(host, url)?.dev;
  await host.kill('agent');
  await host.kill('broker');
  prove('both are back, under new process ids', host.pid('agent') !== null && host.pid('broker') !== null);
  prove('the mount is the same one, untouched', mountOf(host, url)?.dev === identity && identity !== undefined);
  prove('both attachments are still there', (await attachments(host, url)).join() === [ALICE, BOB].join());

  step('The volume’s server dies, and the volume is recovered');
  await host.sandbox('fault', 'guests', 'server-dies');
  await until('the mount is dead', () => isDead(String(first['mountpoint'])));
  prove('the mount is dead: every access fails with ENOTCONN', true);
  const again = await command(host, 'connect', url, '--disk', disk, '--consumer', ALICE);
  prove('the same connect mounts it anew', again['changed'] === true && mountOf(host, url)?.dev !== undefined);
  prove('the disk is readable again', readFileSync(String(again['path'])).equals(served));
  prove('no attachment was lost', (await attachments(host, url)).join() === [ALICE, BOB].join());

  step('One volume hangs; the others do not notice');
  const hung = await host.volume('frozen');
  const other = await host.volume('lively');
  await command(host, 'connect', hung, '--consumer', ALICE);
  await host.sandbox('fault', 'frozen', 'hang-unanswered');
  const waiting = host.ask('connect', hung, '--consumer', BOB, '--timeout', '20');
  const begun = performance.now();
  await command(host, 'connect', other, '--consumer', BOB);
  const took = performance.now() - begun;
  show(`connecting another volume took ${took.toFixed(0)} ms, the start of the command line included`);
  prove(
    'another volume was connected meanwhile, unhindered',
    took < UNHINDERED_MS && mountOf(host, other) !== undefined,
  );
  const refused = await waiting;
  prove(`the hung one is called by its name: ${refused.error?.code ?? '?'}`, refused.error?.code === 'hung');
  await host.sandbox('heal', 'frozen');

  step('Disconnect tells the truth');
  const still = await command(host, 'disconnect', url, '--disk', disk, '--consumer', ALICE);
  prove(
    `one of two: ${String(still['outcome'])}, used by ${String(still['usedBy'])}`,
    still['outcome'] === 'still-used',
  );
  prove('and the kernel still has the mount', mountOf(host, url) !== undefined);
  const released = await command(host, 'disconnect', url, '--disk', disk, '--consumer', BOB);
  prove(`the last one: ${String(released['outcome'])}`, released['outcome'] === 'released');
  prove('and the kernel has it no more', mountOf(host, url) === undefined);

  step('Nothing is left behind');
  await command(host, 'disconnect', hung, '--consumer', ALICE);
  await command(host, 'disconnect', other, '--consumer', BOB);
  await until('every mount is gone', () => host.mounts().length === 0);
  prove('no mount', host.mounts().length === 0);
  await until('every leaf is gone', () => readdirSync(host.quobyteBase).length === 0);
  prove('no leaf directory', readdirSync(host.quobyteBase).length === 0);
  const pids = [host.pid('agent'), host.pid('broker')];
  prove('SIGTERM ends fairlead cleanly', (await host.down()) === 0);
  prove(
    'no process',
    pids.every((pid) => pid !== null && !alive(pid)),
  );
}

function hardened(mount: SeenMount | undefined): boolean {
  const options = mount?.options.split(',') ?? [];
  return ['nosuid', 'nodev', 'noexec', 'nosymfollow'].every((option) => options.includes(option));
}

function isDead(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return error.code === 'ENOTCONN';
    throw error;
  }
}

async function attachments(host: Host, url: string): Promise<readonly string[]> {
  const { body } = await host.ask('ls');
  const { mounts } = body as { mounts: { leaf: string; attachments: { consumer: string }[] }[] };
  const mine = mounts.find(({ leaf }) => leaf === leafOfUrl(url));
  return (mine?.attachments ?? []).map(({ consumer }) => consumer).sort();
}

const begun = performance.now();
process.stdout.write('Fairlead on real mounts: a stand-in Quobyte cluster, a broker, an agent, and this kernel.\n');
try {
  await using host = await Host.boot();
  await demonstrate(host);
  process.stdout.write(`\nAll of it held, in ${((performance.now() - begun) / 1000).toFixed(1)} s.\n`);
} catch (error) {
  process.stdout.write(`\n    ✗ ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
