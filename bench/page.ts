// The page's block of figures: what ran, on what, and the tables. Pure.

import type { MachineFacts, Versions } from './facts.js';
import { tables, type Line } from './tables.js';

const BEGIN = '<!-- figures: node dist/bench/report.js -->';
const END = '<!-- end of figures -->';

/** The page with the figures of this run instead of those it had. Throws if the page has no place for them. */
export function intoPage(page: string, lines: readonly Line[]): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} … ${END}`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${block(lines)}\n\n${page.slice(end)}`;
}

function block(lines: readonly Line[]): string {
  const machine = lines.find((line): line is MachineFacts => line.name === 'machine');
  const versions = lines.find((line): line is Versions => line.name === 'versions');
  const ran = lines.find((line) => line.name === 'run');
  if (machine === undefined || versions === undefined || ran === undefined) throw new Error('the run is not whole');
  const { fairlead, commit, node, python, nova, kernel, helper } = versions;
  const head = [
    `- Fairlead ${fairlead} (${commit ?? 'no commit'}), Node ${node}; Nova ${nova}, Python ${python}; Linux ${kernel}; the stand-in's helper runs on ${helper}.`,
    `- ${machine.processor}, ${machine.processors} processors, ${machine.memoryMiB} MiB; load ${machine.load} before the run.`,
    `- A ${ran.extent} run of ${ran.seconds} s.`,
  ];
  const sections = tables(lines).replace(/^(\S+), ms: .*$/gm, '### $1');
  return `${head.join('\n')}\n\n${sections}`;
}
