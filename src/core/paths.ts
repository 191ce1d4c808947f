// Absolute paths: parsed from outside text, joined from parts that have been parsed, compared by component. Text only:
// what a path leads to is asked with handles, in sys/.

import type { Brand } from './brand.js';
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from './limits.js';
import type { DiskName } from './names.js';
import { checkText, refusal, utf8Length } from './text.js';
import type { Leaf } from './volume.js';

/** An absolute path in its only spelling: no `.`, `..`, empty component or trailing slash, and not `/` itself. */
export type AbsolutePath = Brand<string, 'AbsolutePath'>;

/** An absolute path; refuses (`invalid-argument`) rather than normalises, so that a path means what it says. */
export function parseAbsolutePath(value: unknown, field: string): AbsolutePath {
  const text = checkText(value, field, { maxBytes: MAX_PATH_BYTES, blanks: 'refused' });
  if (!text.startsWith('/')) throw refusal(field, 'must be an absolute path');
  if (text === '/') throw refusal(field, 'must not be the root directory');
  for (const component of text.slice(1).split('/')) {
    if (component === '') throw refusal(field, 'must not have a trailing slash or two slashes in a row');
    if (component === '.' || component === '..') throw refusal(field, 'must not have . or .. as a component');
    if (utf8Length(component) > MAX_NAME_BYTES) {
      throw refusal(field, `must have components of at most ${MAX_NAME_BYTES} bytes`);
    }
  }
  return text as AbsolutePath;
}

/** `<base>/<leaf>`. `base` comes from the checked configuration. */
export function mountpointOf(base: string, leaf: Leaf): AbsolutePath {
  return `${base}/${leaf}` as AbsolutePath;
}

/** `<base>/<leaf>/<disk>`. */
export function diskPathOf(base: string, leaf: Leaf, disk: DiskName): AbsolutePath {
  return `${base}/${leaf}/${disk}` as AbsolutePath;
}

/** Whether `path` lies strictly below `directory`, component by component. Both are in their only spelling. */
export function isBelow(path: string, directory: string): boolean {
  return directory === '/' ? path.startsWith('/') && path !== '/' : path.startsWith(`${directory}/`);
}
