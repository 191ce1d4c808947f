// The reference pages in the repository are the ones that the code makes, and nothing is left undocumented.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { referencePages } from '../../../scripts/reference.js';
import { VERSION } from '../../../src/core/version.js';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test.each(Object.entries(referencePages()))('docs/reference/%s is current (make reference)', (file, text) => {
  expect(read(`docs/reference/${file}`)).toBe(text);
});

test('every setting, command and field has its meaning written down', () => {
  const { 'configuration.md': configuration = '', 'cli.md': cli = '' } = referencePages();
  expect(configuration).not.toMatch(/undefined|Must be \.|\n\n\n/);
  expect(configuration.match(/^### /gm)).toHaveLength(configuration.match(/^- Default: `.+`$/gm)?.length ?? 0);
  expect(cli).not.toContain('undefined');
});

test('the version is the package’s', () => {
  expect((JSON.parse(read('package.json')) as { version: string }).version).toBe(VERSION);
});
