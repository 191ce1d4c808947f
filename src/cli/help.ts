// The help: of all commands, of a group, and of one command. Pure.

import type { Command, Group, Option } from './command.js';
import { COMMANDS, COMMON_OPTIONS, commonOptions } from './commands.js';

/** What help is about; null: everything. */
export type Topic = Command | Group | null;

/** `fairlead connect URL [--disk NAME] --consumer KIND:ID …`, the common options left out. */
export function usageLine({ name, usage, operands, options }: Command): string {
  if (usage !== undefined) return `fairlead ${name} ${usage}`;
  const parts = Object.entries(options).map(([option, { value, required }]) => {
    const spelt = value === null ? `--${option}` : `--${option} ${value}`;
    return required === true ? spelt : `[${spelt}]`;
  });
  return ['fairlead', name, ...operands.map((operand) => operand.name), ...parts].join(' ');
}

/** The whole help, or that of a group or of one command. */
export function helpText(topic: Topic): string {
  if (topic === null) {
    return [
      'Usage: fairlead COMMAND [OPTION …]',
      '',
      'Mounts network filesystem volumes once, shares them, and lets them go when nobody uses them any more.',
      '',
      ...commandRows(COMMANDS),
      '',
      'Options of every command:',
      ...optionRows(COMMON_OPTIONS),
      '  --version       print the version',
      '',
      'fairlead COMMAND --help tells more about one.',
    ].join('\n');
  }
  if (!('operands' in topic)) {
    return [
      `Usage: fairlead ${topic.name} COMMAND [OPTION …]`,
      '',
      sentence(topic.summary),
      '',
      ...commandRows(COMMANDS.filter(({ name }) => name.startsWith(`${topic.name} `))),
      '',
      `fairlead ${topic.name} COMMAND --help tells more about one.`,
    ].join('\n');
  }
  return [
    `Usage: ${usageLine(topic)}`,
    '',
    sentence(topic.summary),
    '',
    'Options:',
    ...optionRows({ ...topic.options, ...commonOptions(topic) }),
    ...(topic.notes.length === 0 ? [] : ['', ...topic.notes]),
  ].join('\n');
}

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

function commandRows(commands: readonly Command[]): string[] {
  return commands.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`);
}

function optionRows(options: Readonly<Record<string, Option>>): string[] {
  const rows = Object.entries(options).map(([name, { value, description, required }]) => [
    `  --${name}${value === null ? '' : ` ${value}`}`,
    `${description}${required === true ? ' (required)' : ''}`,
  ]);
  const width = Math.max(15, ...rows.map(([left = '']) => left.length));
  return rows.map(([left = '', right = '']) => `${left.padEnd(width)}   ${right}`);
}
