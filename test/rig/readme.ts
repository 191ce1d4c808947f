// Types the session of the README as its reader does: every command of it, word by word and in order, in two terminals, and
// compares what is printed.

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './programs.js';
import { until } from './until.js';

/** Milliseconds that one command may take. */
const COMMAND_MS = 30_000;
/** What a test run has done already. */
const DONE = 'make build';
/** The line that `ls` has where libvirt does not answer, of which the README speaks. */
const NO_LIBVIRT = "libvirt's domains could not be read";

/** A command, and the lines that it is said to print. */
interface Typed {
  readonly command: string;
  readonly prints: readonly string[];
}

/** The terminals of the README's session: those fenced blocks that begin with a root shell's prompt. */
export function sessionOf(markdown: string): readonly (readonly Typed[])[] {
  return [...markdown.matchAll(/^```\n(# [^]*?)^```$/gm)].map(([, block = '']) =>
    block
      .split(/^# /m)
      .filter((part) => part !== '')
      .map((part) => {
        const [command = '', ...prints] = part.trimEnd().split('\n');
        return { command, prints };
      }),
  );
}

/** Types all of it behind these words; fails where something else is printed than the README says. */
export async function typeSession(entering: readonly string[]): Promise<void> {
  const terminals: Terminal[] = [];
  try {
    for (const commands of sessionOf(readFileSync(join(ROOT, 'README.md'), 'utf8'))) {
      const terminal = new Terminal(entering);
      terminals.push(terminal);
      for (const typed of commands) if (typed.command !== DONE) await terminal.type(typed);
    }
  } finally {
    for (const terminal of terminals) await terminal.close();
  }
}

class Terminal {
  readonly #shell: ChildProcess;
  #said = '';

  constructor([program = '', ...words]: readonly string[]) {
    this.#shell = spawn(program, [...words, '/bin/bash', '--norc'], { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#shell.stdout?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    // As on a screen, without the log.
    this.#shell.stdin?.write(`cd ${ROOT}\nexec 2>&1\n`);
  }

  /** What is printed is compared once the command has ended; of one that goes on, as soon as it is there. */
  async type({ command, prints }: Typed): Promise<void> {
    const mark = randomBytes(8).toString('hex');
    this.#said = '';
    this.#shell.stdin?.write(`${command}\n${goesOn(command) ? '' : `echo ${mark}\n`}`);
    const isOver = (): boolean => (goesOn(command) ? isPrinted(prints, this.#said) : this.#said.includes(mark));
    await until(`"${command}" is over`, isOver, COMMAND_MS).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#said}`);
    });
    const said = this.#said.replace(`${mark}\n`, '');
    if (isPrinted(prints, said)) return;
    throw new Error(`"${command}" prints\n${said}\nwhere the README says\n${prints.join('\n')}`);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#shell.once('exit', resolve));
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null) return;
    this.#shell.stdin?.end();
    this.#shell.kill('SIGKILL');
    await ended;
  }
}

/** Whether it stays in the foreground, or in the background with something still to say. */
function goesOn(command: string): boolean {
  return command.endsWith('&') || command.startsWith('bin/fairlead up ');
}

function isPrinted(prints: readonly string[], said: string): boolean {
  const lines = said.split('\n').filter((line) => line !== '' && !line.startsWith('{') && !line.startsWith(NO_LIBVIRT));
  return lines.map(timeless).join('\n') === prints.map(timeless).join('\n');
}

/** How long ago a look was depends on the machine. */
function timeless(line: string): string {
  return line.trimEnd().replace(/\(\d+s ago\)/, '(0s ago)');
}
