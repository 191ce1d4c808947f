// The names of tests as they stand in their files: `suite > test`, templates with their placeholders. Read from the
// source, so that a list of tests can be checked against the tree without running any of it.

import { readFileSync } from 'node:fs';
import ts from 'typescript';

/** One test, or one template of several. */
export interface Title {
  /** `suite > … > test`, placeholders as they are written. */
  readonly name: string;
  /** Marked as not to be run, or as not written yet, whatever the host. */
  readonly skipped: boolean;
}

const SUITES: ReadonlySet<string> = new Set(['describe']);
const TESTS: ReadonlySet<string> = new Set(['it', 'test']);
const SKIPPING: ReadonlySet<string> = new Set(['skip', 'todo']);

/** All titles of a file. */
export function titlesOf(file: string): readonly Title[] {
  const titles: Title[] = [];
  const visit = (node: ts.Node, suites: readonly string[], skipped: boolean): void => {
    const call = ts.isCallExpression(node) ? readCall(node) : null;
    if (call === null) {
      node.forEachChild((child) => {
        visit(child, suites, skipped);
      });
      return;
    }
    const path = [...suites, call.title];
    const skips = skipped || call.skipped;
    if (call.kind === 'test') titles.push({ name: path.join(' > '), skipped: skips });
    else for (const argument of call.rest) visit(argument, path, skips);
  };
  visit(ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true), [], false);
  return titles;
}

interface Call {
  readonly kind: 'suite' | 'test';
  readonly title: string;
  readonly skipped: boolean;
  readonly rest: readonly ts.Node[];
}

/** `it('x', …)`, `it.skip('x', …)`, `it.each([…])('x', …)` and the same of suites; null for any other call. */
function readCall(call: ts.CallExpression): Call | null {
  const [first, ...rest] = call.arguments;
  if (first === undefined) return null;
  const words = wordsOf(call.expression);
  const [root = '', ...modifiers] = words;
  const kind = SUITES.has(root) ? 'suite' : TESTS.has(root) ? 'test' : null;
  const title = textOf(first);
  // `it.each([…])` alone is a call too, with a table where a title would be.
  if (kind === null || title === null || modifiers.at(-1) === 'each()' || modifiers.at(-1) === 'each') return null;
  return { kind, title, skipped: modifiers.some((modifier) => SKIPPING.has(modifier)), rest };
}

/** `it.each([…])` as `it`, `each-called`; calls in between count as words. */
function wordsOf(expression: ts.Expression): readonly string[] {
  if (ts.isIdentifier(expression)) return [expression.text];
  if (ts.isPropertyAccessExpression(expression)) return [...wordsOf(expression.expression), expression.name.text];
  if (ts.isCallExpression(expression)) return [...wordsOf(expression.expression), 'called'];
  return [''];
}

function textOf(node: ts.Node): string | null {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return null;
  return node.head.text + node.templateSpans.map(({ literal }) => `\${}${literal.text}`).join('');
}

/** printf's and vitest's placeholders, and what stood in a template. */
const PLACEHOLDER = /%[sdifjoO#]|%%|\$\{\}|\$[a-zA-Z_][\w.]*/g;

/** What the name becomes when it is run: each placeholder may be anything. `separator` stands between the parts. */
export function patternOf(name: string, separator = ' > '): RegExp {
  const parts = name.split(' > ').map((part) => part.split(PLACEHOLDER).map(literal).join('[^]*'));
  return new RegExp(`^${parts.join(literal(separator))}$`);
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
