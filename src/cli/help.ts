// The help: of all commands, and of one. Pure.

import { COMMANDS, COMMON_OPTIONS, type Command, type Option } from './commands.js';

/** `fairlead connect URL [--disk NAME] --consumer KIND:ID …`, the common options left out. */
export function usageLine(command: Command): string {
  const parts = Object.entries(command.options).map(([name, { value, required }]) => {
    const option = value === null ? `--${name}` : `--${name} ${value}`;
    return required === true ? option : `[${option}]`;
  });
  return ['fairlead', command.name, ...(command.operand === null ? [] : [command.operand]), ...parts].join(' ');
}

/** The whole help, or that of one command. */
export function helpText(command: Command | null): string {
  if (command === null) {
    const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`);
    return [
      'Usage: fairlead COMMAND [OPTION …]',
      '',
      'Mounts network filesystem volumes once, shares them, and lets them go when nobody uses them any more.',
      '',
      ...rows,
      '',
      'Options of every command:',
      ...optionRows(COMMON_OPTIONS),
      '  --version       print the version',
      '',
      'fairlead COMMAND --help tells more about one.',
    ].join('\n');
  }
  return [
    `Usage: ${usageLine(command)}`,
    '',
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    '',
    'Options:',
    ...optionRows({ ...command.options, ...COMMON_OPTIONS }),
    ...(command.notes.length === 0 ? [] : ['', ...command.notes]),
  ].join('\n');
}

function optionRows(options: Readonly<Record<string, Option>>): string[] {
  const rows = Object.entries(options).map(([name, { value, description, required }]) => [
    `  --${name}${value === null ? '' : ` ${value}`}`,
    `${description}${required === true ? ' (required)' : ''}`,
  ]);
  const width = Math.max(15, ...rows.map(([left = '']) => left.length));
  return rows.map(([left = '', right = '']) => `${left.padEnd(width)}   ${right}`);
}
