// The reader who tries the guides: what is typed, where, and when something else was printed than the guide says.

import { describe, expect, it } from 'vitest';
import { blocksOf, checkPrinted, Reader, type GuideBlock } from '../../rig/guide.js';

const GUIDE = `# A guide

\`\`\`console
# nobody types this
\`\`\`

\`\`\`sh
echo one
\`\`\`

\`\`\`text
one
\`\`\`

\`\`\`sh guest
echo two
\`\`\`

And then:

\`\`\`text
not what it prints, since words stand between
\`\`\`

\`\`\`sh terminal
sleep 60
\`\`\`
`;

const block = (commands: string, prints: string | null = null): GuideBlock => ({
  line: 7,
  where: 'host',
  commands,
  prints,
});

describe('the blocks of a guide', () => {
  it('are those in sh, with where they are typed and what stands right after them', () => {
    expect(blocksOf(GUIDE)).toEqual([
      { line: 7, where: 'host', commands: 'echo one\n', prints: 'one\n' },
      { line: 15, where: 'guest', commands: 'echo two\n', prints: null },
      { line: 25, where: 'terminal', commands: 'sleep 60\n', prints: null },
    ]);
  });

  it('are refused where nobody knows the place', () => {
    expect(() => blocksOf('```sh moon\nls\n```\n')).toThrow('nobody types in ```sh moon');
  });
});

describe('what is printed', () => {
  it.each([
    ['one\n', 'one'],
    ['size  … bytes\n', 'size  12 bytes\n'],
    ['…\nlast\n', 'first\nsecond\nlast\n'],
    ['a (b) [c] $d\n', 'a (b) [c] $d\n'],
  ])('%j is %j', (prints, printed) => {
    expect(() => {
      checkPrinted(block('', prints), printed);
    }).not.toThrow();
  });

  it.each([
    ['one\n', 'two\n'],
    ['one\n', 'one\nmore\n'],
    ['one…\n', 'one\nmore\n'],
    ['a.c\n', 'abc\n'],
  ])('%j is not %j', (prints, printed) => {
    expect(() => {
      checkPrinted(block('', prints), printed);
    }).toThrow('line 7: it prints');
  });
});

describe('a reader', () => {
  it('has in the next block what the last one exported, and fails where any command failed', async () => {
    await using reader = new Reader();
    await reader.type(block('export WORD=kept; cat'));
    expect(await reader.type(block('echo "$WORD"\necho again >&2'))).toBe('kept\nagain\n');
    await expect(reader.type(block('false\necho after'))).rejects.toThrow('line 7 failed:\nafter');
    expect(await reader.type(block('if false; then :; fi; echo on'))).toBe('on\n');
  });

  it('goes on when a terminal has printed what the guide says', async () => {
    await using reader = new Reader();
    await reader.open(block('echo log\necho it is ready\nsleep 60', '…\nit is ready\n'));
  });
});
