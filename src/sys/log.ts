// The log: one JSON object a line on standard error, by pino. An event is a fixed word, its facts are fields; a mount is
// named by its leaf. What must never be logged (exports, URLs, sources, the text of unforeseen errors) is taken out
// here too, in case a caller forgets. Lines that cannot be written are lost, and their number is logged when there is room again.

import { pino } from 'pino';
import { FairleadError } from '../core/errors.js';
import type { LogSink } from './log-sink.js';

/** Levels that an operator may choose. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Facts of an event. Errors are taken apart; everything else must be plain data. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where events go. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** Resolves when what was logged is written or lost: perhaps never, so that whoever waits needs a deadline. */
  flush(): Promise<void>;
}

/** A log of one process (`agent`, `broker`). */
export function createLog(process: string, level: LogLevel, sink: LogSink): Log {
  const logger = pino(
    {
      level,
      base: { process },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'event',
    },
    {
      write: (line: string) => {
        sink.write(plainLine(line));
      },
    },
  );
  sink.onRoom((lines) => {
    logger.warn({ lines }, 'log-lines-lost');
  });
  return {
    debug: (event, fields) => logger.debug(clean(fields), event),
    info: (event, fields) => logger.info(clean(fields), event),
    warn: (event, fields) => logger.warn(clean(fields), event),
    error: (event, fields) => logger.error(clean(fields), event),
    flush: () => sink.flush(),
  };
}

// What a terminal or a log reader might obey or leave out: controls, bidi and other format characters, separators.
// JSON has escaped C0 controls already; the newline that ends the line is not in the text.
const UNPLAIN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/gu;

function plainLine(line: string): string {
  const text = line.endsWith('\n') ? line.slice(0, -1) : line;
  return `${text.replace(UNPLAIN, escapeUnits)}\n`;
}

/** As JSON escapes, one a UTF-16 unit, so that the line still parses to the same text. */
function escapeUnits(character: string): string {
  let escaped = '';
  for (let i = 0; i < character.length; i += 1) {
    escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  }
  return escaped;
}

/** Fields that name a volume, whoever sets them. */
const NAMES_A_VOLUME = new Set(['export', 'url', 'volume', 'source', 'args', 'argv', 'helperOutput', 'output']);

function clean(fields: LogFields = {}): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (NAMES_A_VOLUME.has(key)) kept[key] = '[withheld]';
    else kept[key] = value instanceof Error ? describe(value, isForeseen(value) ? 'no-stack' : 'stack', 0) : value;
  }
  return kept;
}

/** Whether somebody thought of this failure: then its code and its message say all, and a stack is noise. */
function isForeseen(error: Error): boolean {
  return error instanceof FairleadError && error.code !== 'internal';
}

/** Causes that are followed. */
const MAX_CAUSES = 5;

/**
 * An error without its message, unless it is one of ours: the text of an unforeseen error may quote a path, a name or a
 * secret. Its class, code, system call and stack are enough to find the place.
 */
function describe(error: Error, stack: 'stack' | 'no-stack', depth: number): Record<string, unknown> {
  const { code, syscall } = error as { readonly code?: unknown; readonly syscall?: unknown };
  const { cause } = error;
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof syscall === 'string' && /^[a-z0-9_ ]{1,40}$/i.test(syscall) ? { syscall } : {}),
    ...(error instanceof FairleadError ? { message: error.message } : {}),
    ...(error instanceof FairleadError && error.leaf !== undefined ? { leaf: error.leaf } : {}),
    ...(stack === 'stack' ? { at: frames(error) } : {}),
    ...(cause instanceof Error && depth < MAX_CAUSES ? { cause: describe(cause, stack, depth + 1) } : {}),
  };
}

/** The stack's frames: the lines after the message, however many lines the message has. */
function frames(error: Error): string[] {
  const stack = error.stack ?? '';
  const header = stack.indexOf(error.message);
  const rest = header < 0 ? stack : stack.slice(header + error.message.length);
  return rest
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^at .*(:\d+:\d+\)?|<anonymous>\)?|native\)?)$/.test(line))
    .slice(0, 12);
}
