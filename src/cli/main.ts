// The command line. It asks the agent's HTTP door and prints the answer; it decides nothing and imports next to nothing,
// so that it starts fast. `up` alone is something else: it is loaded only when it is asked for.

import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ERROR_CODES, errorBody, errorFromBody, FairleadError, type ErrorBody } from '../core/errors.js';
import { isCutShort } from '../core/helper-output.js';
import { showEscaped } from '../core/text.js';
import { VERSION } from '../core/version.js';
import { readArguments, type Said } from './arguments.js';
import { ask } from './ask.js';
import type { Command } from './command.js';
import { helpText } from './help.js';

const DEFAULT_SOCKET = '/run/fairlead/agent.sock';

/** What `up` is given by the command line (src/up.ts exports a function `up` that takes it, and ends the process). */
interface UpCall {
  readonly config: string | null;
  ready(facts: Readonly<Record<string, unknown>> & { readonly text: string }): string;
  failed(error: { readonly body: ErrorBody } | { readonly unforeseen: unknown }): ErrorLines;
}

/** An error as it is printed: the lines, where they belong, and the exit status. */
interface ErrorLines {
  readonly to: 1 | 2;
  readonly text: string;
  readonly status: number;
}

type Format = 'json' | 'text';

async function main(words: readonly string[]): Promise<number> {
  const format: Format = wantsJson(words) ? 'json' : 'text';
  try {
    return await carryOut(readArguments(words), format);
  } catch (error) {
    return printError(error, format);
  }
}

/** Known before the rest is, so that a refusal of the rest has the right form. */
function wantsJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return (end < 0 ? words : words.slice(0, end)).includes('--json');
}

async function carryOut(said: Said, format: Format): Promise<number> {
  switch (said.said) {
    case 'version':
      print(format, { version: VERSION }, () => `fairlead ${VERSION}`);
      return 0;
    case 'help':
      print(format, { help: helpText(said.topic) }, () => helpText(said.topic));
      return 0;
    case 'command':
      break;
  }
  const { command, given } = said;
  if (command.question === null) return await up(given.text['config'] ?? null, format);
  const socket = given.text['socket'] ?? (process.env['FAIRLEAD_SOCKET'] || DEFAULT_SOCKET);
  const showsAll = given.flags.has('show-helper-output');
  if (showsAll && process.geteuid?.() !== 0) {
    const message = 'Only root may see all that a mount helper printed. Ask as root, or without --show-helper-output.';
    throw new FairleadError('permission-denied', message, { field: 'show-helper-output' });
  }
  process.once('SIGINT', () => {
    interrupt(command);
  });
  let reply: unknown;
  try {
    reply = await ask(socket, command.question(given));
  } catch (error) {
    if (showsAll && error instanceof FairleadError) throw await withAllOutput(error, socket);
    if (command.name !== 'doctor' || !(error instanceof FairleadError)) throw error;
    // Without an agent there is one thing to say, and doctor says it in its own form.
    const { message } = error;
    const [what = message] = message.split('. ');
    const mend = message.slice(what.length + 2);
    reply = { findings: [{ subject: 'agent', severity: 'error', message: `${what}.`, mend }] };
    print(format, reply, () => command.show(reply, given));
    return ERROR_CODES[error.code].exit;
  }
  print(format, reply, () => command.show(reply, given));
  return command.exit?.(reply) ?? 0;
}

/** Says what becomes of the request, and ends as Ctrl-C ends a program: a shell that runs several stops then. */
function interrupt({ interrupted }: Command): void {
  process.stderr.write(`fairlead: interrupted. ${interrupted ?? 'Nothing is changed by that.'}\n`, () => {
    process.kill(process.pid, 'SIGINT');
  });
}

/** The error with all that the helper printed, from the broker; as it was, where nothing of it was withheld. */
async function withAllOutput(error: FairleadError, socket: string): Promise<FairleadError> {
  const { code, message, field, leaf, helperOutput } = error;
  if (leaf === undefined || helperOutput === undefined || !isCutShort(helperOutput)) return error;
  const { wholeHelperOutput } = (await besideBundle('helper-output')) as {
    readonly wholeHelperOutput: (agentSocket: string, leaf: string) => Promise<string | null>;
  };
  const whole = await wholeHelperOutput(socket, leaf).catch(() => null);
  return new FairleadError(code, message, {
    ...(field === undefined ? {} : { field }),
    leaf,
    helperOutput: whole ?? `${helperOutput} (but the broker could not be asked)`,
  });
}

/** A module that only some commands need. The bundle is bin/fairlead; the modules are beside it in dist/. */
function besideBundle(name: 'up' | 'helper-output'): Promise<unknown> {
  const house = dirname(dirname(realpathSync(process.argv[1] ?? '')));
  return import(pathToFileURL(join(house, `dist/src/${name}.js`)).href);
}

async function up(config: string | null, format: Format): Promise<never> {
  const { up: run } = (await besideBundle('up')) as {
    readonly up: (call: UpCall) => Promise<never>;
  };
  return run({
    config,
    ready: ({ text, ...facts }) => lineOf(format, facts, () => text),
    failed: (error) => errorLines('body' in error ? errorFromBody(error.body) : error.unforeseen, format),
  });
}

function print(format: Format, value: unknown, text: () => string): void {
  process.stdout.write(`${lineOf(format, value, text)}\n`);
}

function lineOf(format: Format, value: unknown, text: () => string): string {
  return format === 'json' ? JSON.stringify(value) : text();
}

function printError(error: unknown, format: Format): number {
  const { to, text, status } = errorLines(error, format);
  (to === 1 ? process.stdout : process.stderr).write(`${text}\n`);
  return status;
}

function errorLines(error: unknown, format: Format): ErrorLines {
  const body = error instanceof FairleadError ? errorBody(error) : unforeseen(error);
  const { exit: status } = ERROR_CODES[body.code];
  return format === 'json'
    ? { to: 1, text: JSON.stringify({ error: body }), status }
    : { to: 2, text: errorText(body), status };
}

/** A defect of this program: its text is for whoever reports it, and came from nobody else. */
function unforeseen(error: unknown): ErrorBody {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : 'no error object';
  return { code: 'internal', message: `fairlead failed: ${text}. Please report this.`, retryable: false };
}

function errorText({ code, message, field, leaf, helperOutput }: ErrorBody): string {
  const about = [code, ...(field === undefined ? [] : [field]), ...(leaf === undefined ? [] : [leaf])];
  const lines = [
    `${message} [${about.join(', ')}]`,
    ...(helperOutput === undefined ? [] : [`the helper said: ${helperOutput}`]),
  ];
  return lines
    .flatMap((line) => line.split('\n'))
    .map((line, index) => `${index === 0 ? 'fairlead: ' : ''}${showEscaped(line)}`)
    .join('\n');
}

process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  // The reader has gone (fairlead ls | head -1): there is nobody left to tell.
  if (code === 'EPIPE') return;
  const message = `Standard output cannot be written to (${code ?? 'unknown'}), so the answer is lost. What was asked may have been done; say it again, nothing is done twice.`;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  process.exit(printError(new FairleadError(isFull ? 'resource-exhausted' : 'unavailable', message), 'text'));
});
process.stderr.on('error', () => undefined);

void main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
