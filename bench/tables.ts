// Figures as tables that people can read. Pure.

import type { MachineFacts, Versions } from './facts.js';
import type { Figure, FigureName, Ratio } from './figures.js';
import { SUBJECTS, type SubjectName } from './subjects.js';

/** Everything that a run says, one line of JSON each. */
export type Line =
  | Figure
  | Ratio
  | MachineFacts
  | Versions
  | { readonly name: 'run'; readonly extent: 'full' | 'quick'; readonly seconds: number };

const TITLES: Readonly<Record<SubjectName, string>> = {
  'nova-own': "Nova's own driver",
  'nova-fairlead': 'Nova through Fairlead',
  fairlead: 'Fairlead over HTTP',
  bare: 'bare helper',
};

/** One table a figure and way of asking: conditions down, subjects across, medians with the 95th percentile. */
export function tables(lines: readonly Line[]): string {
  const figures = lines.filter((line): line is Figure => 'unit' in line && line.unit === 'ms');
  const ratios = lines.filter((line): line is Ratio => line.name === 'ratio');
  const names = [...new Set(figures.map(({ name }) => name))];
  return names.map((name) => table(name, figures, ratios)).join('\n\n');
}

function table(name: FigureName, figures: readonly Figure[], ratios: readonly Ratio[]): string {
  const mine = figures.filter((figure) => figure.name === name);
  const subjects = SUBJECTS.filter((subject) => mine.some((figure) => figure.subject === subject));
  const compared = subjects.includes('nova-own') && subjects.includes('nova-fairlead');
  const header = ['mounts', 'at once', 'helper ms', ...subjects.map((subject) => TITLES[subject])];
  if (compared) header.push('own / through Fairlead');
  const conditions = [...new Map(mine.map((figure) => [conditionOf(figure), figure])).values()];
  const rows = conditions.map((at) => [
    String(at.mounts),
    String(at.concurrency),
    String(at.helperMs),
    ...subjects.map((subject) => cellText(mine.find((one) => one.subject === subject && sameCondition(one, at)))),
    ...(compared ? [ratioText(ratios, name, at)] : []),
  ]);
  return `${name}, ms: median (95th percentile)\n\n${markdown([header, ...rows])}`;
}

function ratioText(ratios: readonly Ratio[], figure: FigureName, at: Figure): string {
  const found = ratios.find(
    (one) =>
      one.figure === figure && one.subject === 'nova-fairlead' && one.to === 'nova-own' && sameCondition(one, at),
  );
  return found === undefined ? '' : `${digits(found.median)} ×`;
}

type Condition = Pick<Figure, 'mounts' | 'concurrency' | 'helperMs'>;

function conditionOf({ mounts, concurrency, helperMs }: Condition): string {
  return `${mounts} ${concurrency} ${helperMs}`;
}

function sameCondition(one: Condition, other: Condition): boolean {
  return conditionOf(one) === conditionOf(other);
}

function cellText(figure: Figure | undefined): string {
  return figure === undefined ? '' : `${digits(figure.median)} (${digits(figure.p95)})`;
}

/** Three digits that mean something. */
function digits(value: number): string {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

function markdown([header = [], ...rows]: readonly (readonly string[])[]): string {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, column) => text.padStart(widths[column] ?? 0)).join(' | ')} |`;
  return [
    line(header),
    `| ${widths.map((width) => `${'-'.repeat(width - 1)}:`).join(' | ')} |`,
    ...rows.map(line),
  ].join('\n');
}
