// Attacks on the source itself, for what must not be there at all: a second place that starts processes, a shell, code
// made from text, a statement made from text, a path or a level that somebody else should decide.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import ts from 'typescript';
import { ROOT } from '../../rig/programs.js';

interface Source {
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

const SOURCES: readonly Source[] = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => {
    const text = readFileSync(join(ROOT, 'src', name), 'utf8');
    return { path: `src/${name}`, text, tree: ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true) };
  });

/** Every node of every file under `below`. */
function* nodes(below = 'src/'): Generator<readonly [Source, ts.Node]> {
  for (const source of SOURCES.filter(({ path }) => path.startsWith(below))) {
    const queue: ts.Node[] = [source.tree];
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      yield [source, node];
      node.forEachChild((child) => void queue.push(child));
    }
  }
}

/** The modules that a file imports, types left out, each with who imports it. */
function importersOf(module: RegExp): readonly string[] {
  const found = new Set<string>();
  for (const [{ path }, node] of nodes()) {
    const name = ts.isImportDeclaration(node)
      ? node.moduleSpecifier
      : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
        ? node.arguments[0]
        : undefined;
    if (name !== undefined && ts.isStringLiteral(name) && module.test(name.text)) found.add(path);
  }
  return [...found].sort();
}

/** Where a text literal, or a piece of a template, matches. */
function literals(pattern: RegExp, below?: string): readonly string[] {
  const found: string[] = [];
  for (const [{ path }, node] of nodes(below)) {
    const text = ts.isStringLiteralLike(node) || ts.isTemplateHead(node) ? node.text : null;
    if (text !== null && pattern.test(text)) found.push(`${path}: ${text}`);
  }
  return found;
}

it('the scan sees the source', () => {
  expect(SOURCES.length).toBeGreaterThan(100);
  expect(importersOf(/^node:fs$/).length).toBeGreaterThan(3);
  expect(literals(/^\/run\/systemd\/system$/)).toEqual(['src/sys/service-manager.ts: /run/systemd/system']);
});

describe('R3, processes', () => {
  it('are started by one module', () => {
    expect(importersOf(/^(node:)?(child_process|cluster)$/)).toEqual(['src/sys/run.ts']);
  });

  it('are never started by a shell or a text', () => {
    const found: string[] = [];
    for (const [{ path }, node] of nodes()) {
      if (ts.isPropertyAssignment(node) && node.name.getText() === 'shell') found.push(`${path}: shell`);
      if (ts.isIdentifier(node) && /^(exec|execSync|execFile|execFileSync|spawnSync)$/.test(node.text)) {
        const calls = ts.isCallExpression(node.parent) && node.parent.expression === node;
        if (calls) found.push(`${path}: ${node.text}`);
      }
    }
    expect(found).toEqual([]);
    expect(literals(/^([^ ]*\/)?(sudo|su|sh|bash|dash|nova-rootwrap|doas|pkexec)$/)).toEqual([]);
  });
});

describe('R8, the client configuration', () => {
  it('has no path in the source', () => {
    expect(literals(/^\/etc\//).filter((each) => !/fairlead|\/etc\/passwd$|\/etc\/libvirt\/qemu$/.test(each))).toEqual(
      [],
    );
    expect(literals(/\.(cfg|conf|ini)$/)).toEqual([]);
  });

  it('is opened by nobody who describes a disk', () => {
    expect(importersOf(/^node:/).filter((path) => /^src\/(core|backends|engine)\//.test(path))).toEqual([]);
  });
});

describe('R19, the log', () => {
  it('has one level setting and one destination, both given from outside', () => {
    expect(importersOf(/^pino$/)).toEqual(['src/sys/log.ts']);
    const creations = SOURCES.flatMap(({ path, text }) =>
      [...text.matchAll(/(?<!function )\bcreateLog\(([^;]*)\)/g)].map(([, given = '']) => ({ path, given })),
    );
    // A fixed level is for the moments before the configuration is read, and gives way to what it says.
    const last = new Map(creations.map(({ path, given }) => [path, given]));
    expect([...last.keys()].sort()).toEqual(['src/agent.ts', 'src/up.ts', 'src/up/service.ts']);
    for (const given of last.values()) expect(given).toMatch(/config\.logLevel/);
  });
});

describe('R22, no query or evaluation class:', () => {
  it('nothing is evaluated', () => {
    const found: string[] = [];
    for (const [{ path }, node] of nodes()) {
      if (ts.isNewExpression(node) && /^(Function|AsyncFunction)$/.test(node.expression.getText())) found.push(path);
      if (ts.isCallExpression(node) && /^(eval|Function)$/.test(node.expression.getText())) found.push(path);
    }
    expect(found).toEqual([]);
    expect(importersOf(/^(node:)?(vm|repl|inspector)$/)).toEqual([]);
  });

  it('foreign calls live in one folder', () => {
    expect(importersOf(/^koffi$/).filter((path) => !path.startsWith('src/sys/libc'))).toEqual([]);
  });

  it('statements are literals, and values are bound', () => {
    const filledIn = new Set<string>();
    for (const [, node] of nodes('src/ledger/')) {
      if (!ts.isTemplateExpression(node) || !/\b(select|insert|update|delete|create|pragma)\b/i.test(node.getText()))
        continue;
      for (const span of node.templateSpans) filledIn.add(span.expression.getText());
    }
    // Constants in capitals, numbers of ours, and the columns of our own tables; never a record's value.
    const ours = /^(?:[A-Z_]+|sql|version|pages|table|key|column|(?:columns|update)\.[^]*)$/;
    expect([...filledIn].filter((expression) => !ours.test(expression))).toEqual([]);
    expect(filledIn.size).toBeGreaterThan(3);
  });
});
