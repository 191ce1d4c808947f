// The command line. It asks the agent's HTTP door and prints the answer; it decides nothing and imports next to nothing,
// so that it starts fast. `up` alone is something else: it is loaded only when it is asked for.

import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ERROR_CODES, errorBody, errorFromBody, FairleadError, type ErrorBody } from '../core/errors.js';
import { showEscaped } from '../core/text.js';
import { VERSION } from '../core/version.js';
import { readArguments, type Said } from './arguments.js';
import { ask } from './ask.js';
import { helpText } from './help.js';

const DEFAULT_SOCKET = '/run/fairlead/agent.sock';

/** What `up` is given by the command line (src/up.ts exports a function `up` that takes it). */
interface UpCall {
  readonly config: string | null;
  ready(facts: Readonly<Record<string, unknown>> & { readonly text: string }): void;
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
  let reply: unknown;
  try {
    reply = await ask(socket, command.question(given));
  } catch (error) {
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

async function up(config: string | null, format: Format): Promise<number> {
  // The bundle is bin/fairlead; what `up` runs is beside it in dist/.
  const house = dirname(dirname(realpathSync(process.argv[1] ?? '')));
  const { up: run } = (await import(pathToFileURL(join(house, 'dist/src/up.js')).href)) as {
    readonly up: (call: UpCall) => Promise<ErrorBody | null>;
  };
  const failure = await run({
    config,
    ready: ({ text, ...facts }) => {
      print(format, facts, () => text);
    },
  });
  return failure === null ? 0 : printError(errorFromBody(failure), format);
}

function print(format: Format, value: unknown, text: () => string): void {
  process.stdout.write(`${format === 'json' ? JSON.stringify(value) : text()}\n`);
}

function printError(error: unknown, format: Format): number {
  const body = error instanceof FairleadError ? errorBody(error) : unforeseen(error);
  if (format === 'json') process.stdout.write(`${JSON.stringify({ error: body })}\n`);
  else process.stderr.write(`${errorText(body)}\n`);
  return ERROR_CODES[body.code].exit;
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

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // The reader has gone (fairlead ls | head -1): there is nobody left to tell.
    if (error.code !== 'EPIPE') throw error;
  });
}

void main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
