// What a mount helper is told to do. The helper is an interpreter without opinions: it sends its arguments, we read them
// as Quobyte's client does, look at the volume's faults and answer a program of steps, one a line, fields separated by
// tabs; the last is always `exit`. Pure, except that it asks whether a volume exists.
import { type Fault, find } from './faults.js';
import { WrongInput, hasControl } from './layout.js';

const USAGE = 'usage: mount.quobyte [options] REGISTRY[:PORT][,REGISTRY[:PORT]...]/VOLUME DIRECTORY';
const FLAGS = new Set([
  '-f',
  '--disable-xattrs',
  '--enable-access-contexts',
  '--no-default-permissions',
  '--allow-usermapping-in-volumename',
]);
const WITH_VALUE = new Set(['-c', '-d', '-l', '--hostname', '--http-port']);

interface Arguments {
  registries: string;
  volume: string;
  directory: string;
  foreground: boolean;
  disableXattrs: boolean;
  clientConfig: string | undefined;
}

function parseArguments(argv: readonly string[]): Arguments {
  const rest: string[] = [];
  const flags = new Set<string>();
  let clientConfig: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const [name = '', value] = /^--[^=]*=/.test(argv[i]!) ? argv[i]!.split(/=(.*)/s) : [argv[i]!];
    if (FLAGS.has(name)) flags.add(name);
    else if (WITH_VALUE.has(name)) {
      const given = value ?? argv[++i];
      if (given === undefined) throw new WrongInput(`option ${name} needs a value`);
      if (name === '-c') clientConfig = given;
    } else if (name.startsWith('-')) throw new WrongInput(`unknown option ${name}\n${USAGE}`);
    else rest.push(name);
  }
  const [exported, directory] = rest;
  if (exported === undefined || directory === undefined || rest.length > 2 || directory === '')
    throw new WrongInput(USAGE);
  const parts = /^(?:quobyte:\/\/)?([^/]+)\/([^/]+)$/.exec(exported);
  if (parts === null || argv.some(hasControl)) throw new WrongInput(`cannot read the volume "${exported}"\n${USAGE}`);
  return {
    registries: parts[1]!.split(',').join('|'),
    volume: parts[2]!,
    directory,
    foreground: flags.has('-f'),
    disableXattrs: flags.has('--disable-xattrs'),
    clientConfig,
  };
}

/** How the mount that a program makes is to be served. */
export interface Serving {
  volume: string;
  xattrs: 'offered' | 'disabled';
  by: 'cluster' | 'own-server';
}
export interface Program {
  steps: string;
  serving: Serving | undefined;
}

/** What the program depends on. `ownServer` is the command line of a server; its argument `FD` becomes the descriptor. */
export interface Surroundings {
  exists(volume: string): boolean;
  faults(volume: string): readonly Fault[];
  ownServer(serving: Serving): readonly string[];
}

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const data = (user: number): string =>
  `fd=%d,rootmode=40000,user_id=${user},group_id=0,allow_other,default_permissions`;

type Step = readonly (string | number)[];

function program(steps: readonly Step[], serving?: Serving): Program {
  return { steps: steps.map((step) => `${step.join('\t')}\n`).join(''), serving };
}

function failure(text: string, status: number): Program {
  return program([
    ['say', Buffer.from(text === '' ? '' : `${text}\n`).toString('hex')],
    ['exit', status],
  ]);
}

/** Reads a helper's arguments and composes what it shall do. */
export function compose(argv: readonly string[], world: Surroundings): Program {
  let args: Arguments;
  try {
    args = parseArguments(argv);
  } catch (error) {
    if (error instanceof WrongInput) return failure(`mount.quobyte: ${error.message}`, 2);
    throw error;
  }
  const faults = world.exists(args.volume) ? world.faults(args.volume) : [];
  const fails = find(faults, 'helper-fails');
  if (fails !== undefined) return failure(fails.text, fails.status);

  const volume = find(faults, 'helper-wrong-volume')?.other ?? args.volume;
  if (!world.exists(volume)) return failure(`mount.quobyte: volume "${volume}" does not exist`, 1);

  const steps: Step[] = [];
  if (args.clientConfig !== undefined) steps.push(['need', args.clientConfig]);
  const slow = find(faults, 'slow-mount');
  if (slow !== undefined) steps.push(['sleep', slow.ms]);
  const floods = find(faults, 'helper-floods');
  if (floods !== undefined) steps.push(['flood', floods.bytes]);
  const hangs = find(faults, 'helper-hangs')?.when;
  if (hangs === 'before') steps.push(['hang']);
  if (hangs === 'before' || find(faults, 'helper-noop') !== undefined) return program([...steps, ['exit', 0]]);
  const late = find(faults, 'helper-late');
  if (late !== undefined) steps.push(['detach'], ['sleep', late.ms]);

  const by = find(faults, 'own-server') === undefined ? 'cluster' : 'own-server';
  const serving: Serving = { volume, by, xattrs: args.disableXattrs ? 'disabled' : 'offered' };
  const flags = MS_NOSUID | MS_NODEV | (find(faults, 'read-only') === undefined ? 0 : MS_RDONLY);
  const user = find(faults, 'mounted-by')?.uid ?? 0;
  steps.push(['mount', `quobyte@${args.registries}/${volume}`, args.directory, flags, data(user)]);
  if (by === 'own-server') steps.push(['serve', ...world.ownServer(serving)]);
  if (find(faults, 'helper-daemon') !== undefined) steps.push(['linger']);
  if (hangs === 'after') steps.push(['hang']);
  if (args.foreground) steps.push(['wait']);
  return program([...steps, ['exit', 0]], serving);
}
