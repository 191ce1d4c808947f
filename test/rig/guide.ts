// Tries a guide as a new user would: every command in it, word by word and in order. A fenced block whose first word is `sh` is
// typed; what stands behind it says where:
//
//   ```sh            in the shell of the host, as root; what one block exports, the next has; every command must succeed
//   ```sh terminal   in a terminal of its own, which stays open; the reader goes on when it has printed what the guide says
//   ```sh guest      in the guest
//
// A block ```text right after one of them is what it prints: `…` stands for any part of a line, and a line `…` for any lines. Blocks in
// other languages are read, not typed.

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { ROOT } from './programs.js';
import { until } from './until.js';

/** Milliseconds that one block may take. */
const BLOCK_MS = 30_000;

/** A block that is typed. */
export interface GuideBlock {
  /** The line of the guide that it begins at. */
  readonly line: number;
  readonly where: 'host' | 'terminal' | 'guest';
  readonly commands: string;
  /** What it is said to print; null: the guide does not say. */
  readonly prints: string | null;
}

/** The blocks of a guide that are to be typed. */
export function blocksOf(markdown: string): readonly GuideBlock[] {
  const found: GuideBlock[] = [];
  const fence = /^```([^\n]*)\n([^]*?)^```$/gm;
  let afterTyped = -1;
  for (const { index, 0: all, 1: info = '', 2: content = '' } of markdown.matchAll(fence)) {
    const between = afterTyped < 0 ? null : markdown.slice(afterTyped, index);
    const previous = found.at(-1);
    if (info === 'text' && previous !== undefined && between !== null && between.trim() === '') {
      found[found.length - 1] = { ...previous, prints: content };
      afterTyped = -1;
      continue;
    }
    const [language, place = 'host', ...more] = info.split(' ');
    afterTyped = -1;
    if (language !== 'sh') continue;
    if (more.length > 0 || !isPlace(place)) throw new Error(`nobody types in \`\`\`${info}`);
    found.push({ line: markdown.slice(0, index).split('\n').length, where: place, commands: content, prints: null });
    afterTyped = index + all.length;
  }
  return found;
}

/** Fails unless this is what the guide says is printed. */
export function checkPrinted(block: GuideBlock, printed: string): void {
  if (isPrinted(block, printed)) return;
  throw new Error(`line ${block.line}: it prints\n${printed}\nwhere the guide says\n${block.prints ?? ''}`);
}

function isPrinted({ prints }: GuideBlock, printed: string): boolean {
  if (prints === null) return true;
  const lines = prints.trimEnd().split('\n');
  const form = lines
    .map((line) => (line.trim() === '…' ? '(?:[^\\n]*\\n)*' : `${line.split('…').map(literally).join('[^\\n]*')}\\n`))
    .join('');
  return new RegExp(`^${form}$`).test(`${printed.trim()}\n`);
}

/** Whoever tries a guide: a shell on the host, and terminals. `await using` closes all of them. */
export class Reader implements AsyncDisposable {
  readonly #shell: ChildProcess;
  readonly #terminals: ChildProcess[] = [];
  readonly #environment: Readonly<Record<string, string>>;
  #said = '';

  /** A reader who has just entered the checkout. */
  constructor(environment: Readonly<Record<string, string>> = {}) {
    this.#environment = environment;
    this.#shell = this.#bash();
    this.#shell.stdout?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#shell.stdin?.write("set -o pipefail\ntrap 'failed=1' ERR\n");
  }

  /** Types a block of the host, and returns what it printed. */
  async type({ commands, line }: GuideBlock): Promise<string> {
    const mark = randomBytes(8).toString('hex');
    this.#said = '';
    this.#shell.stdin?.write(`failed=0\n{\n${commands}\n} < /dev/null\nprintf '\\n%s %s\\n' ${mark} "$failed"\n`);
    const end = new RegExp(`\\n${mark} (\\d+)\\n`);
    const seen = await until(`line ${line} is done`, () => end.exec(this.#said) ?? undefined, BLOCK_MS).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${this.#said}`);
      },
    );
    const printed = this.#said.slice(0, seen.index);
    if (seen[1] !== '0') throw new Error(`line ${line} failed:\n${printed}`);
    return printed;
  }

  /** Types a block in a terminal of its own, and waits until it has printed what the guide says. */
  async open(block: GuideBlock): Promise<void> {
    const terminal = this.#bash();
    this.#terminals.push(terminal);
    let said = '';
    terminal.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    terminal.stdin?.end(block.commands);
    const seen = until(`what line ${block.line} prints`, () => isPrinted(block, said), BLOCK_MS);
    await seen.catch((error: unknown) => {
      throw new Error(`${String(error)}\n${said}`);
    });
  }

  /** Ctrl-C in every terminal, the last one first, and the end of the shell. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const terminal of [...this.#terminals.reverse(), this.#shell]) {
      if (terminal.exitCode !== null || terminal.signalCode !== null || terminal.pid === undefined) continue;
      const ended = new Promise((resolve) => terminal.once('exit', resolve));
      if (terminal === this.#shell) terminal.stdin?.end();
      else process.kill(-terminal.pid, 'SIGINT');
      await ended;
    }
  }

  #bash(): ChildProcess {
    const bash = spawn('/bin/bash', ['--norc'], {
      cwd: ROOT,
      env: { ...process.env, ...this.#environment },
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // As on a screen: errors where they belong between the rest.
    bash.stdin.write('exec 2>&1\n');
    return bash;
  }
}

function isPlace(word: string): word is GuideBlock['where'] {
  return word === 'host' || word === 'terminal' || word === 'guest';
}

function literally(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}
