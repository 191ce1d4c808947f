// Words of the command line become a command with its arguments, or `invalid-argument` naming the one at fault. What the
// values mean is checked by the agent.

import { parseArgs } from 'node:util';
import { closest } from '../core/suggest.js';
import { misuse, quote, type Command, type Given, type Group, type Option } from './command.js';
import { COMMANDS, commonOptions, GROUPS } from './commands.js';
import type { Topic } from './help.js';

/** What was said. */
export type Said =
  | { readonly said: 'version' }
  | { readonly said: 'help'; readonly topic: Topic }
  | { readonly said: 'command'; readonly command: Command; readonly given: Given };

/** Reads the words after the program's name. */
export function readArguments(words: readonly string[]): Said {
  const [name, ...rest] = jsonLast(words);
  if (name === '--version') return { said: 'version' };
  if (asksForHelp(name)) return { said: 'help', topic: null };
  // `fairlead help connect` is `fairlead connect --help`.
  if (name === 'help') return readArguments([...rest, '--help']);
  const group = GROUPS.find((known) => known.name === name);
  if (group !== undefined) return readGroup(group, rest);
  return readOptions(findCommand(name, null), rest);
}

function readGroup(group: Group, words: readonly string[]): Said {
  const [name, ...rest] = jsonLast(words);
  if (asksForHelp(name)) return { said: 'help', topic: group };
  return readOptions(findCommand(name, group), rest);
}

/** `--json` may come before the command too; read as if it came last. */
function jsonLast(words: readonly string[]): readonly string[] {
  return words[0] === '--json' ? [...words.slice(1), '--json'] : words;
}

function asksForHelp(word: string | undefined): boolean {
  return word === '--help' || word === '-h';
}

function findCommand(word: string | undefined, group: Group | null): Command {
  const prefix = group === null ? '' : `${group.name} `;
  const command = COMMANDS.find(({ name }) => name === `${prefix}${word ?? ''}`);
  if (command !== undefined) return command;
  const inside = COMMANDS.map(({ name }) => name).filter((name) =>
    group === null ? !name.includes(' ') : name.startsWith(prefix),
  );
  const known = group === null ? [...inside, ...GROUPS.map(({ name }) => name)] : inside;
  if (word === undefined || word.startsWith('-')) {
    const what = word === undefined ? `Say what to do` : `A command comes before ${quote(word)}`;
    throw misuse(`${what}; one of ${known.join(', ')}. More: fairlead ${prefix}--help.`, 'command');
  }
  const meant = closest(`${prefix}${word}`, known) ?? elsewhere(word);
  const hint = meant === null ? `It is one of ${known.join(', ')}.` : `Did you mean fairlead ${meant}?`;
  throw misuse(`There is no command ${prefix}${quote(word)}. ${hint}`, 'command');
}

/** The word as it is called in a group, or without one: `attach` is `vm attach`. */
function elsewhere(word: string): string | null {
  return COMMANDS.find(({ name }) => name === word || name.endsWith(` ${word}`))?.name ?? null;
}

function readOptions(command: Command, words: readonly string[]): Said {
  const specs: Readonly<Record<string, Option>> = { ...command.options, ...commonOptions(command) };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { value }]) => [
      name,
      { type: value === null ? ('boolean' as const) : ('string' as const), ...(name === 'help' ? { short: 'h' } : {}) },
    ]),
  );
  const see = `See fairlead ${command.name} --help.`;
  const text: Record<string, string> = {};
  const flags = new Set<string>();
  const operands: string[] = [];
  // Not strict, so that the refusals below are our own and quote no more than a name.
  const { tokens } = parseArgs({ args: [...words], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) {
      const meant = closest(token.name, Object.keys(specs));
      const hint = meant === null ? see : `Did you mean --${meant}?`;
      throw misuse(`There is no option ${quote(token.rawName)} here. ${hint}`, token.name);
    }
    if (flags.has(token.name) || text[token.name] !== undefined) {
      throw misuse(`--${token.name} was given twice. ${see}`, token.name);
    }
    if (spec.value === null) {
      if (token.value !== undefined) throw misuse(`--${token.name} takes no value. ${see}`, token.name);
      flags.add(token.name);
    } else {
      const missing = token.value === undefined || (!token.inlineValue && token.value.startsWith('--'));
      if (missing) throw misuse(`--${token.name} needs a value (${spec.value}). ${see}`, token.name);
      text[token.name] = token.value;
    }
  }
  if (flags.has('help')) return { said: 'help', topic: command };
  checkOperands(command, operands, see);
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.required === true && text[name] === undefined) throw misuse(`--${name} is missing. ${see}`, name);
  }
  return { said: 'command', command, given: { operands, text, flags } };
}

function checkOperands(command: Command, operands: readonly string[], see: string): void {
  const missing = command.operands[operands.length];
  if (missing !== undefined) throw misuse(`${missing.name} is missing. ${see}`, missing.field);
  if (operands.length > command.operands.length) {
    throw misuse(`There is an argument too many. ${see}`, command.operands.at(-1)?.field ?? 'argument');
  }
}
