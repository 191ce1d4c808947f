// The campaign: round after round, users work with volumes while Fairlead's processes and the clients are killed and stopped and
// mounts are changed behind its back; after each round everything that was promised is compared with the kernel. Chance
// comes from a seed. What processes do in parallel does not, so a seed repeats the intentions of a run, not its course.

import { Host } from '../../../rig/host.js';
import { chanceOf } from '../../../sim/prng.js';
import { Adversary } from './adversary.js';
import { checkEnd, checkRound } from './check.js';
import { Person } from './people.js';
import { CampaignVolume, World } from './world.js';

/** What a campaign is told. */
export interface CampaignOptions {
  readonly rounds: number;
  readonly seed: number;
  /** Hears of each round. */
  readonly report: (line: string) => void;
}

/** What became of it. */
export interface CampaignEnd {
  readonly rounds: number;
  readonly violations: readonly string[];
}

const PEOPLE = 6;
/** Things that each user does in a round, and the adversary at most. */
const ACTS = 6;
const MOST_DEEDS = 3;
/** Rounds after which everybody lets go of everything. */
const ROUNDS_TO_NOTHING = 20;
/** Violations after which it is known well enough that something is wrong. */
const MOST_VIOLATIONS = 10;
/** Milliseconds between two looks at which clients there are. */
const WATCH_MS = 100;

/** The stand-in's faults of each served volume, besides a client process of its own. */
const SERVED: Readonly<Record<string, readonly (readonly string[])[]>> = {
  plain: [],
  slow: [['slow-end', '1500']],
  slower: [['slow-end', '4000']],
  late: [['slow-mount', '300']],
};

/** Runs it to its end, or until too much is wrong. */
export async function runCampaign({ rounds, seed, report }: CampaignOptions): Promise<CampaignEnd> {
  const chance = chanceOf(seed);
  const onVanish = chance.pick(['report', 'remount']);
  report(`seed ${seed}, ${rounds} rounds, on_vanish = "${onVanish}"`);
  await using host = await Host.prepare({ configure: (toml) => configured(toml, onVanish) });
  const world = new World(host, await host.up(), chance, await volumesOf(host));
  const people: Person[] = [];
  for (let number = 1; number <= PEOPLE; number++) {
    people.push(await Person.born(world, `cli:user-${number}`, chance.fork()));
  }
  const adversary = new Adversary(world, chance.fork());
  try {
    let isBroken = false;
    for (let round = 1; round <= rounds && !isBroken && world.violations.length < MOST_VIOLATIONS; round++) {
      const known = world.violations.length;
      const since = performance.now();
      world.beginRound();
      try {
        await playRound(world, people, adversary);
        await checkRound(world, people);
        if (round % ROUNDS_TO_NOTHING === 0 || round === rounds) await checkEnd(world, people, adversary);
      } catch (error) {
        isBroken = true;
        world.violate(`it could not go on: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      }
      const seconds = ((performance.now() - since) / 1000).toFixed(1);
      report(
        `round ${round}: ${world.files.size} files open, ${world.copies.size} copies, ${seconds} s` +
          (world.violations.length > known ? `\n${tell(world, known)}` : ''),
      );
    }
  } finally {
    for (const copy of [...world.copies]) await adversary.endCopy(copy);
    for (const person of people) await person.end();
  }
  return { rounds: world.round, violations: world.violations };
}

function configured(toml: string, onVanish: string): string {
  const quick = toml
    .replace(/mount_timeout = .*/, 'mount_timeout = "10s"')
    .replace(/probe_timeout = .*/, 'probe_timeout = "1s"');
  return `on_vanish = "${onVanish}"\nhealth_interval = "2s"\n${quick}`;
}

async function volumesOf(host: Host): Promise<readonly CampaignVolume[]> {
  const served: CampaignVolume[] = [];
  for (const [name, faults] of Object.entries(SERVED)) {
    const url = await host.volume(name);
    for (const fault of [['own-server'], ...faults]) await host.sandbox('fault', name, ...fault);
    served.push(new CampaignVolume(host, url, `${host.dir}/volumes/${name}`));
  }
  const url = host.localVolume('local');
  return [...served, new CampaignVolume(host, url, `${host.localRoot}/local`)];
}

/** Everybody acts at once, until all have done and everything that was stopped goes on. */
async function playRound(world: World, people: readonly Person[], adversary: Adversary): Promise<void> {
  const watching = setInterval(() => world.watchClients(), WATCH_MS);
  const working = people.map(async (person) => {
    for (let act = 0; act < ACTS; act++) await person.act();
  });
  const disturbing = async (): Promise<void> => {
    const deeds = world.chance.int(1, MOST_DEEDS);
    for (let deed = 0; deed < deeds; deed++) await adversary.act();
  };
  try {
    await Promise.all([...working, disturbing()]);
  } finally {
    await adversary.rest();
    clearInterval(watching);
  }
  await world.host.ready(world.up);
  world.watchClients();
}

/** The violations that are new, what happened in the round, and what Fairlead said last. */
function tell(world: World, known: number): string {
  const said = world.host.log().split('\n').slice(-40);
  return [...world.violations.slice(known).map((one) => `  WRONG ${one}`), ...world.events, ...said]
    .map((line) => `    ${line}`)
    .join('\n');
}
