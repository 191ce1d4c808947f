// Words of the command line become a command with its arguments, or `invalid-argument` naming the one at fault. What the
// values mean is checked by the agent.

import { parseArgs } from 'node:util';
import { FairleadError } from '../core/errors.js';
import { cutToBytes, escapeForLog } from '../core/text.js';
import { COMMANDS, COMMON_OPTIONS, type Command, type Given } from './commands.js';

/** What was said. */
export type Said =
  | { readonly said: 'version' }
  | { readonly said: 'help'; readonly command: Command | null }
  | { readonly said: 'command'; readonly command: Command; readonly given: Given };

/** Reads the words after the program's name. */
export function readArguments(words: readonly string[]): Said {
  const [name, ...rest] = words[0] === '--json' ? [...words.slice(1), '--json'] : words;
  if (name === '--version') return { said: 'version' };
  if (name === '--help' || name === '-h') return { said: 'help', command: null };
  const command = COMMANDS.find((known) => known.name === name);
  if (command === undefined) {
    const known = COMMANDS.map((one) => one.name).join(', ');
    throw usage(
      name === undefined ? 'Say what to do' : `There is no command ${quote(name)}`,
      'command',
      `one of ${known}`,
    );
  }
  return readOptions(command, rest);
}

function readOptions(command: Command, words: readonly string[]): Said {
  const specs: Readonly<Record<string, { readonly value: string | null; readonly required?: true }>> = {
    ...command.options,
    ...COMMON_OPTIONS,
  };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { value }]) => [
      name,
      { type: value === null ? ('boolean' as const) : ('string' as const), ...(name === 'help' ? { short: 'h' } : {}) },
    ]),
  );
  const see = `see fairlead ${command.name} --help`;
  const text: Record<string, string> = {};
  const flags = new Set<string>();
  const operands: string[] = [];
  // Not strict, so that the refusals below are our own and quote no more than a name.
  const { tokens } = parseArgs({ args: [...words], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) throw usage(`There is no option ${quote(token.rawName)} here`, token.name, see);
    if (flags.has(token.name) || text[token.name] !== undefined) {
      throw usage(`--${token.name} was given twice`, token.name, see);
    }
    if (spec.value === null) {
      if (token.value !== undefined) throw usage(`--${token.name} takes no value`, token.name, see);
      flags.add(token.name);
    } else {
      const missing = token.value === undefined || (!token.inlineValue && token.value.startsWith('--'));
      if (missing) throw usage(`--${token.name} needs a value (${spec.value})`, token.name, see);
      text[token.name] = token.value;
    }
  }
  if (flags.has('help')) return { said: 'help', command };
  const [operand = '', extra] = operands;
  if (command.operand === null ? operand !== '' : extra !== undefined) {
    throw usage('There is an argument too many', command.operand?.toLowerCase() ?? 'argument', see);
  }
  if (command.operand !== null && operands.length === 0) {
    throw usage(`${command.operand} is missing`, command.operand.toLowerCase(), see);
  }
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.required === true && text[name] === undefined) throw usage(`--${name} is missing`, name, see);
  }
  return { said: 'command', command, given: { operand, text, flags } };
}

function quote(word: string): string {
  return escapeForLog(cutToBytes(word, 64));
}

function usage(what: string, field: string, hint: string): FairleadError {
  return new FairleadError('invalid-argument', `${what}; ${hint}.`, { field: quote(field) });
}
