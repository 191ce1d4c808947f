// R23 (and the type tests of R2, R12): seeded violations. Small bad changes are put before the project's own lint rules
// and its own compiler, in memory, and each must be found: a rule that finds nothing guards nothing.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ESLint } from 'eslint';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../rig/programs.js';

/** Milliseconds: the first file costs the whole program. */
const PATIENCE_MS = 120_000;

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

describe('the lint rules', () => {
  const eslint = new ESLint({ cwd: ROOT });
  /** Rules that complain about a text in the place of a file of core. */
  async function complaints(text: string): Promise<readonly string[]> {
    const [result] = await eslint.lintText(text, { filePath: join(ROOT, 'src/core/xml.ts') });
    return (result?.messages ?? []).map(({ ruleId, message }) => ruleId ?? message);
  }
  const sound = '// A room.\n\n/** What it is. */\nexport const PATH = "/run/systemd/system";\n';

  beforeAll(async () => {
    expect(await complaints(sound)).toEqual([]);
  }, PATIENCE_MS);

  it.each([
    ['a blank before a path', 'const probe = " /run/systemd/system";', 'no-restricted-syntax'],
    ['a blank behind a path', 'const probe = "/run/systemd/system ";', 'no-restricted-syntax'],
    ['a blank before a path in a template', 'const probe = ` /run/systemd/${String(1)}`;', 'no-restricted-syntax'],
    ['an export without a doc comment', 'export const probe = 1;', 'house/documented-exports'],
    ['an export with a comment that is none', '// What it is.\nexport const probe = 1;', 'house/documented-exports'],
    ['an export with an empty doc comment', '/** */\nexport const probe = 1;', 'house/documented-exports'],
    [
      'a floating promise',
      'const probe = Promise.resolve(1);\nprobe.then(String);',
      '@typescript-eslint/no-floating-promises',
    ],
    [
      'a branch that is never taken',
      'const probe = "a" as const;\nif (probe === "a") String(probe);',
      '@typescript-eslint/no-unnecessary-condition',
    ],
    ['a swallowed error', 'try {\n  String(1);\n} catch (error) {}', 'no-restricted-syntax'],
    ['an error without a name', 'try {\n  String(1);\n} catch {\n  String(2);\n}', 'no-restricted-syntax'],
    ['a shell', 'const probe = { shell: true };', 'no-restricted-syntax'],
    ['evaluation', 'eval("1");', 'no-eval'],
    ['code from text', 'const probe = new Function("1");', '@typescript-eslint/no-implied-eval'],
    [
      'a process started elsewhere',
      'import { spawn } from "node:child_process";\nspawn("/bin/true");',
      'no-restricted-imports',
    ],
    ['a foreign call elsewhere', 'import koffi from "koffi";\nString(koffi);', 'no-restricted-imports'],
    [
      'a switch that is not exhaustive',
      'const probe = (x: "a" | "b"): void => {\n  switch (x) {\n    case "a":\n  }\n};\nprobe("a");',
      '@typescript-eslint/switch-exhaustiveness-check',
    ],
    ['a name that nobody uses', 'const probe = 1;', '@typescript-eslint/no-unused-vars'],
  ])(
    'find %s',
    async (_, seed, rule) => {
      expect(await complaints(`${sound}\n${seed}\n`)).toContain(rule);
    },
    PATIENCE_MS,
  );
});

describe('the compiler', () => {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config,
    ts.sys,
    ROOT,
  );
  let library: Map<string, ts.SourceFile | undefined>;
  beforeAll(() => {
    library = new Map();
  });

  /** Codes of the complaints about one file of the project, with another text in its place. */
  function complaints(path: string, text: string): readonly string[] {
    const absolute = join(ROOT, path);
    const host = ts.createCompilerHost(options);
    const plain = host.getSourceFile.bind(host);
    host.getSourceFile = (name, version) => {
      if (name === absolute) return ts.createSourceFile(name, text, version);
      if (!library.has(name)) library.set(name, plain(name, version));
      return library.get(name);
    };
    const once = Object.entries(options).filter(([name]) => name !== 'incremental' && name !== 'tsBuildInfoFile');
    const program = ts.createProgram([absolute], Object.fromEntries(once) as ts.CompilerOptions, host);
    return ts.getPreEmitDiagnostics(program, program.getSourceFile(absolute)).map(({ code }) => `TS${code}`);
  }

  it('finds an errno class that nobody handles', { timeout: PATIENCE_MS }, () => {
    const path = 'src/backends/judgement.ts';
    const text = read(path);
    const seeded = text.replace("| 'unknown';", "| 'unknown' | 'quota';");
    expect(seeded).not.toBe(text);
    expect(complaints(path, text)).toEqual([]);
    // Once for what the mount says, once for what a permission says.
    expect(complaints(path, seeded)).toEqual(['TS2741', 'TS2741']);
  });

  it.each([
    ['text where an export is needed', 'import { leafOf } from "../core/volume.js";\nleafOf("r/v");'],
    [
      'text where a disk name is needed',
      'import { diskPathOf } from "../core/paths.js";\nimport type { Leaf } from "../core/volume.js";\ndiskPathOf("/b", "x" as Leaf, "../../etc/shadow");',
    ],
    [
      'text where a volume is needed',
      'import { quobyte } from "./quobyte.js";\nimport type { QuobyteSettings } from "./backend.js";\nexport const f = (settings: QuobyteSettings) => quobyte.mountWay("r/v", settings, "/m");',
    ],
    ['text where a consumer is needed', 'import { userOf } from "../core/names.js";\nuserOf("cli:alice");'],
    [
      'an error code that is not on the list',
      'import { FairleadError } from "../core/errors.js";\nthrow new FairleadError("oops", "x");',
    ],
    ['unreachable code', 'export function f(): number {\n  return 1;\n  return 2;\n}'],
    ['a name that nobody uses', 'export function f(): void {\n  const x = 1;\n}'],
  ])('finds %s', { timeout: PATIENCE_MS }, (_, seed) => {
    const [first, ...others] = complaints('src/backends/registry.ts', `${seed}\nexport {};\n`);
    expect(others).toEqual([]);
    expect(first).toMatch(/^TS(2345|7027|6133)$/);
  });
});
