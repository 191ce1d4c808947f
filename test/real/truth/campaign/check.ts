// What must be true whenever everything that was stopped goes on again, and what must be true when nobody wants anything any more.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { running } from '../../../rig/processes.js';
import { UserError } from '../../../rig/user.js';
import type { ListedMount } from '../../../rig/volumes.js';
import type { Adversary } from './adversary.js';
import type { Person } from './people.js';
import { MARKER, type CampaignVolume, type Copy, type World } from './world.js';

/** Milliseconds within which what was promised is there again. */
const COMES_BACK_MS = 60_000;
/** Milliseconds within which everything has gone by itself. */
const GOES_MS = 120_000;
/** Where helpers have control groups. */
const GROUPS = ['/sys/fs/cgroup/fairlead', '/sys/fs/cgroup/unified/fairlead'];
const SIGKILL = 9;
/** Milliseconds between two looks. */
const LOOK_MS = 100;

/** Whether something becomes true in time; looks again and again. */
async function inTime(look: () => Promise<boolean>, deadlineMs: number): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  while (performance.now() < end) {
    if (await look()) return true;
    await sleep(LOOK_MS);
  }
  return look();
}

/** After a round: what is open, what was promised, and what was said to be gone. */
export async function checkRound(world: World, people: readonly Person[]): Promise<void> {
  checkClientsEnds(world);
  for (const person of people) await person.verifyAll();
  for (const copy of world.copies) await checkCopy(world, copy);
  for (const volume of world.volumes) {
    if (!volume.isCovered) await checkAttachments(world, people, volume);
  }
  await checkList(world, people);
  checkClientsEnds(world);
}

/** A copy still shows what was written through it. */
async function checkCopy(world: World, copy: Copy): Promise<void> {
  const path = join(copy.directory, copy.file);
  try {
    const is = await copy.user.readPath(path);
    if (is !== copy.text) throw new UserError('EBADMSG', `${path} has "${is}" instead of "${copy.text}"`);
    const text = `${copy.volume.name} has ${copy.file} ${world.fresh('version')}`;
    await copy.user.writePath(path, text);
    copy.text = text;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    if (!copy.isExcused)
      world.violate(`the copy of ${copy.volume.name} at ${copy.directory} is lost: ${error.message}`);
    copy.isExcused = true;
  }
}

/** Whoever is attached has the right volume at the leaf, or gets it back when asking for it. */
async function checkAttachments(world: World, people: readonly Person[], volume: CampaignVolume): Promise<void> {
  for (const person of people.filter((one) => one.standing(volume) === 'attached')) {
    let code: string | undefined;
    const again = async (): Promise<boolean> => (code = await person.connect(volume)) === undefined;
    if (!(await inTime(again, COMES_BACK_MS))) {
      world.violate(`${person.consumer} does not get ${volume.name} back: ${code ?? '?'}`);
      continue;
    }
    const ours = volume.ours();
    if (ours.length !== 1) world.violate(`${volume.name} is mounted ${ours.length} times at its leaf`);
    try {
      const name = await person.readMarker(volume, MARKER);
      if (name !== volume.name) world.violate(`at the leaf of ${volume.name} is ${name}`);
    } catch (error) {
      world.violate(`${person.consumer} cannot read ${volume.name}: ${String(error)}`);
    }
    await person.open(volume, 'must-work');
  }
}

/** `ls` shows exactly the attachments that were promised. */
async function checkList(world: World, people: readonly Person[]): Promise<void> {
  const { body } = await world.host.ask('ls');
  const mounts = body['mounts'] as readonly ListedMount[];
  for (const volume of world.volumes) {
    const listed = mounts.find(({ leaf }) => leaf === volume.leaf);
    const attached = new Set(listed?.attachments.map(({ consumer }) => consumer));
    for (const person of people) {
      const standing = person.standing(volume);
      if (standing !== 'unknown' && attached.has(person.consumer) !== (standing === 'attached'))
        world.violate(`${person.consumer} is ${standing} at ${volume.name}, and ls says otherwise`);
    }
    if (typeof listed?.hold === 'string') world.violate(`${volume.name} has a hold, though nobody else mounted it`);
  }
}

/** A client that has ended was not killed, unless the campaign did. Only zombies tell, as whoever adopts them does not reap. */
function checkClientsEnds(world: World): void {
  for (const [pid, volume] of world.seen) {
    const end = endOf(pid);
    if (end === 'runs') continue;
    world.seen.delete(pid);
    if (end === SIGKILL && !world.killed.has(pid)) world.violate(`client ${pid} of ${volume.name} was killed`);
  }
}

/** The signal by which a process ended: of a zombie, the last field of proc_pid_stat(5). */
function endOf(pid: number): number | 'runs' | 'unknown' {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.trim().split(' ') ?? [];
    return fields[0] === 'Z' ? Number(fields.at(-1)) & 0x7f : 'runs';
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return 'unknown';
  }
}

/** Nobody wants anything any more: everything goes, and everything that was written is there. */
export async function checkEnd(world: World, people: readonly Person[], adversary: Adversary): Promise<void> {
  for (const copy of [...world.copies]) await adversary.endCopy(copy);
  for (const volume of world.volumes) await adversary.uncover(volume);
  for (const person of people) {
    for (const volume of world.volumes) {
      await person.closeAll(volume);
      if (person.standing(volume) === 'detached') continue;
      if (!(await inTime(() => person.disconnect(volume), COMES_BACK_MS)))
        world.violate(`${person.consumer} cannot disconnect ${volume.name}`);
    }
  }
  const deadline = performance.now() + GOES_MS;
  for (const [what, left] of leftovers(world)) {
    if (!(await inTime(async () => (await left()).length === 0, deadline - performance.now())))
      world.violate(`not true: ${what}; there is ${(await left()).join(', ')}`);
  }
  checkClientsEnds(world);
  checkStored(world);
}

/** What was written and closed is in the volume, unless the campaign has killed the client that was to store it. */
function checkStored(world: World): void {
  const lost = new Map<CampaignVolume, string[]>();
  for (const { volume, file, text, servers } of world.closed.splice(0)) {
    const isServed = !volume.url.startsWith('local:');
    const isExcused = isServed && (servers.length === 0 || servers.some((pid) => world.killed.has(pid)));
    if (isExcused || readFileSync(join(volume.backing, file), 'utf8') === text) continue;
    lost.set(volume, [...(lost.get(volume) ?? []), file]);
  }
  for (const [volume, files] of lost) {
    world.violate(`what was written to ${files.length} files of ${volume.name} is not stored: ${files.join(', ')}`);
  }
}

function leftovers(world: World): readonly (readonly [string, () => Promise<readonly string[]> | readonly string[]])[] {
  const { host, volumes } = world;
  // Units of other installations on this machine, with the same volumes, have the same leaves in their names.
  const base = createHash('md5').update(host.quobyteBase).digest('hex').slice(0, 8);
  const names = (directory: string): readonly string[] => (existsSync(directory) ? readdirSync(directory) : []);
  return [
    ['nothing is mounted', () => host.mounts().map(({ mountPoint }) => mountPoint)],
    ['every client has ended', () => volumes.flatMap((volume) => volume.clients()).map(String)],
    ['every helper has ended', () => running(`${host.dir}/bin/mount.quobyte`).map(({ command }) => command)],
    ['no leaf is left', () => [...names(host.quobyteBase), ...names(host.localBase)]],
    ['no unit is left', () => GROUPS.flatMap(names).filter((name) => name.includes(`mount-${base}-`))],
    [
      'ls shows nothing',
      async () => {
        const { body } = await host.ask('ls');
        return (body['mounts'] as readonly ListedMount[]).map(({ leaf, state }) => `${leaf} (${state})`);
      },
    ],
  ];
}
