import { describe, expect, it } from 'vitest';
import { FairleadError } from '../../../src/core/errors.js';
import { createLog, type Log, type LogLevel } from '../../../src/sys/log.js';

const SECRET = 'volume-of-secrets';

function captured(level: LogLevel = 'debug'): { log: Log; lines: string[]; last: () => Record<string, unknown> } {
  const lines: string[] = [];
  const log = createLog('broker', level, {
    write: (line) => lines.push(line),
    flush: () => Promise.resolve(),
    onRoom: () => undefined,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

describe('the log', () => {
  it('writes one JSON object a line with level, time, process and event', () => {
    const { log, lines, last } = captured();
    log.info('mount-done', { leaf: 'c94ed34ada0acf45c1213beb1fc52ce6', tookMs: 3 });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.endsWith('\n')).toBe(true);
    expect(last()).toMatchObject({ level: 'info', process: 'broker', event: 'mount-done', tookMs: 3 });
    expect(last()['time']).toMatch(/^\d{4}-\d\d-\d\dT/);
  });

  it.each([
    ['newline', 'a\nb'],
    ['escape', 'a\u001b[31mb'],
    ['C1 control', 'a\u009bb'],
    ['bidi override', 'a\u202eb'],
    ['zero width', 'a\u200bb'],
    ['line separator', 'a\u2028b'],
    ['tag character', 'a\u{e0041}b'],
    ['lone surrogate', 'a\udc80b'],
  ])('shows a %s as an escape, and the line still means the same', (_, text) => {
    const { log, lines, last } = captured();
    log.warn('odd', { text });
    const line = (lines[0] ?? '').slice(0, -1);
    expect(line).toMatch(/^[\x20-\x7e]*$/);
    expect(last()['text']).toBe(text);
  });

  it('leaves ordinary text of any script alone', () => {
    const { log, lines } = captured();
    log.info('named', { text: 'Größe 東京' });
    expect(lines[0]).toContain('Größe 東京');
  });

  it('never shows the message of an unforeseen error, nor of its causes', () => {
    const { log, lines, last } = captured();
    const cause = Object.assign(new Error(`ENOENT: no such file, open '/srv/${SECRET}'\n    at ${SECRET}`), {
      code: 'ENOENT',
      syscall: 'open',
      path: `/srv/${SECRET}`,
    });
    log.error('failed', { error: new TypeError(`odd ${SECRET}`, { cause }) });
    expect(lines.join('')).not.toContain(SECRET);
    expect(last()['error']).toMatchObject({
      name: 'TypeError',
      cause: { name: 'Error', code: 'ENOENT', syscall: 'open' },
    });
    expect((last()['error'] as { at: string[] }).at[0]).toMatch(/^at .*log\.test\.ts/);
  });

  it('shows the message of a foreseen error, which is made to be shown', () => {
    const { log, last } = captured();
    log.error('refused', { error: new FairleadError('busy', 'Wait until nobody uses it.') });
    expect(last()['error']).toMatchObject({ code: 'busy', message: 'Wait until nobody uses it.' });
  });

  it('shows no stack of a foreseen error, nor of what caused it', () => {
    const { log, lines } = captured();
    const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED', syscall: 'connect' });
    log.warn('refused', { error: new FairleadError('unavailable', 'Try again.', { cause }) });
    expect(lines.join('')).toContain('ECONNREFUSED');
    expect(lines.join('')).not.toContain('log.test.ts');
    log.warn('refused', { error: new FairleadError('internal', 'A defect.') });
    expect(lines.at(-1)).toContain('log.test.ts');
  });

  it.each(['export', 'url', 'volume', 'source', 'args', 'helperOutput'])('withholds a field named %s', (field) => {
    const { log, lines } = captured();
    log.debug('careless', { [field]: SECRET });
    expect(lines.join('')).not.toContain(SECRET);
  });

  it('is silent below the level that the operator chose', () => {
    const { log, lines } = captured('warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    expect(lines).toHaveLength(1);
  });
});
