// mount.quobyte for machines without Perl: the same interpreter as in perl.ts, on Node. Node cannot fork; what has to
// outlive the helper is another Node that goes on with the rest of the program, with the descriptors at 3 and 4.
import { spawn } from 'node:child_process';
import { constants, openSync, readSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { close, mount, read, write } from '../fuse/libc.js';
import { connect, sendWith } from '../fuse/sockets.js';

const REST = '--rest-of-the-program';
const FOR_EVER_MS = 0x7fffffff;

let fuse = -1;
let cluster = -1;

function fail(text: string): never {
  writeSync(2, `mount.quobyte: ${text}\n`);
  process.exit(1);
}

/** Sends our arguments and reads the program. */
function ask(argv: readonly string[]): string[] {
  fuse = openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  cluster = connect(join(dirname(process.argv[1]!), '..', 'cluster.sock'));
  if (cluster < 0) fail(`no registry answers (is the sandbox up?): errno ${-cluster}`);
  if (argv.some((arg) => arg.includes('\n'))) fail('an argument has more than one line');
  sendWith(cluster, `${['mount', ...argv].join('\0')}\n`, fuse);
  const buffer = Buffer.alloc(65_536);
  let text = '';
  while (!/(?:^|\n)exit\t\d+\n$/.test(text)) {
    const bytes = read(cluster, buffer, buffer.length);
    if (bytes <= 0) fail('the registry went away');
    text += buffer.toString('utf8', 0, bytes);
  }
  return text.trimEnd().split('\n');
}

/** Starts another Node with the rest of a program. */
function goOn(steps: readonly string[], output: 'inherit' | 'ignore', connection: number | 'ignore'): void {
  const script = fileURLToPath(import.meta.url);
  const argv = [script, REST, ...steps];
  spawn(process.execPath, argv, { detached: true, stdio: ['ignore', output, output, connection, cluster] }).unref();
}

function attach([source = '', where = '', flags, data = '']: readonly string[]): void {
  const failed = mount(source, where, 'fuse.quobyte', Number(flags), data.replace('%d', String(fuse)));
  if (failed < 0) fail(`cannot mount at ${where}: errno ${-failed}`);
  write(cluster, Buffer.from('mounted\n'), 8);
  if (read(cluster, Buffer.alloc(16), 16) <= 0) fail('the registry went away');
}

function flood(bytes: number): void {
  const block = Buffer.from('sandbox\n'.repeat(8192));
  for (let left = bytes; left > 0;) left -= writeSync(1, block, 0, Math.min(left, block.length));
}

async function run(steps: readonly string[]): Promise<void> {
  for (const [i, line] of steps.entries()) {
    const [step, ...fields] = line.split('\t');
    switch (step) {
      case 'say':
        writeSync(2, Buffer.from(fields[0]!, 'hex'));
        break;
      case 'need':
        if (statSync(fields[0]!, { throwIfNoEntry: false })?.isFile() !== true)
          fail(`cannot read the configuration ${fields[0]!}`);
        break;
      case 'sleep':
        await sleep(Number(fields[0]));
        break;
      case 'hang':
        close(fuse);
        await sleep(FOR_EVER_MS);
        break;
      case 'flood':
        flood(Number(fields[0]));
        break;
      case 'detach':
        goOn(steps.slice(i + 1), 'ignore', fuse);
        return;
      case 'mount':
        attach(fields);
        break;
      case 'serve': {
        const argv = fields.slice(1).map((field) => (field === 'FD' ? '3' : field));
        spawn(fields[0]!, argv, { detached: true, stdio: ['inherit', 'inherit', 'inherit', fuse] }).unref();
        break;
      }
      case 'linger':
        goOn(['wait', 'exit\t0'], 'inherit', 'ignore');
        break;
      case 'wait':
        close(fuse);
        while (readSync(cluster, Buffer.alloc(1)) > 0);
        break;
      case 'exit':
        return process.exit(Number(fields[0]));
      default:
        fail('the registry speaks another protocol');
    }
  }
}

if (process.argv[2] === REST) {
  [fuse, cluster] = [3, 4];
  await run(process.argv.slice(3));
} else await run(ask(process.argv.slice(2)));
process.exit(0);
