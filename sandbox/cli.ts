// The command line of the sandbox; `bin/quobyte-sandbox` imports this file. It reads arguments and nothing else: what
// serves is loaded only by `up` and `serve`, so that the other subcommands are quick.
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { fairleadConfig, prepareForFairlead } from './config.js';
import { askAll } from './control.js';
import { SERVER_DIES, addFault, describeKinds, parseFault, readFaults, writeFaults } from './faults.js';
import { type Layout, WrongInput, faultsFile, parseDir, parseVolumeName, volumeDir } from './layout.js';

const USAGE = `usage: quobyte-sandbox up DIR                      serve the sandbox in DIR, in the foreground, until SIGTERM
       quobyte-sandbox volume DIR NAME             create a volume
       quobyte-sandbox fault DIR NAME KIND [ARG]   make a volume misbehave (kinds: quobyte-sandbox fault --help)
       quobyte-sandbox heal DIR NAME               end a volume's faults and let go what hangs
       quobyte-sandbox config DIR                  print a Fairlead configuration for it
`;

/** Runs one subcommand; answers the exit status. */
async function main([subcommand = '', ...args]: readonly string[]): Promise<number> {
  if ([subcommand, ...args.slice(0, 1)].some((arg) => arg === '--help' || arg === '-h') || subcommand === '') {
    const text = subcommand === 'fault' ? `${USAGE}\nkinds:\n${describeKinds()}\n` : USAGE;
    (subcommand === '' ? process.stderr : process.stdout).write(text);
    return subcommand === '' ? 2 : 0;
  }
  switch (subcommand) {
    case 'up': {
      const layout = parseDir(exactly(args, 1)[0]);
      return (await import('./cluster.js')).up(layout);
    }
    case 'serve': {
      const [dir, volume = '', fd, xattrs] = exactly(args, 4);
      const served = xattrs === 'disabled' ? 'disabled' : 'offered';
      return (await import('./cluster.js')).serveOne(parseDir(dir), volume, Number(fd), served);
    }
    case 'volume': {
      const [dir, name = ''] = exactly(args, 2);
      createVolume(parseDir(dir), parseVolumeName(name));
      return 0;
    }
    case 'fault': {
      const [dir, name = '', kind, ...rest] = args;
      if (kind === undefined) throw new WrongInput(`a fault's kind is missing; the kinds are:\n${describeKinds()}`);
      await misbehave(parseDir(dir), parseVolumeName(name), kind, rest);
      return 0;
    }
    case 'heal': {
      const [dir, name = ''] = exactly(args, 2);
      await change(parseDir(dir), parseVolumeName(name), () => []);
      return 0;
    }
    case 'config': {
      const layout = parseDir(exactly(args, 1)[0]);
      if (process.getuid?.() === 0) prepareForFairlead(layout);
      process.stdout.write(fairleadConfig(layout));
      return 0;
    }
    default:
      throw new WrongInput(`there is no subcommand "${subcommand}"\n${USAGE.trimEnd()}`);
  }
}

function exactly(args: readonly string[], count: number): readonly string[] {
  if (args.length !== count)
    throw new WrongInput(`expected ${count} argument${count === 1 ? '' : 's'}, got ${args.length}\n${USAGE.trimEnd()}`);
  return args;
}

/** Creates a volume whose root everybody may write to; only through a mount, because the volumes' directory is root's. */
function createVolume(layout: Layout, name: string): void {
  mkdirSync(layout.volumes, { recursive: true, mode: 0o700 });
  mkdirSync(volumeDir(layout, name), { recursive: true });
  chmodSync(volumeDir(layout, name), 0o777);
}

async function misbehave(layout: Layout, name: string, kind: string, args: readonly string[]): Promise<void> {
  if (kind === SERVER_DIES) {
    mustExist(layout, name);
    if ((await askAll(layout, ['kill', name])).length === 0) throw new Error('no server is up that could die');
    return;
  }
  const fault = parseFault(kind, args);
  await change(layout, name, (faults) => addFault(faults, fault));
}

/** Changes a volume's faults, in their file and then in every server that is up. */
async function change(
  layout: Layout,
  name: string,
  by: (faults: ReturnType<typeof readFaults>) => ReturnType<typeof readFaults>,
): Promise<void> {
  mustExist(layout, name);
  const file = faultsFile(layout, name);
  writeFaults(file, by(readFaults(file)));
  await askAll(layout, ['reload', name]);
}

function mustExist(layout: Layout, name: string): void {
  if (statSync(volumeDir(layout, name), { throwIfNoEntry: false }) === undefined) {
    throw new WrongInput(
      `there is no volume "${name}" in ${layout.dir}; create it with: quobyte-sandbox volume ${layout.dir} ${name}`,
    );
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`quobyte-sandbox: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof WrongInput ? 2 : 1;
}
