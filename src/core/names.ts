// Names that come from outside and are not volumes: consumers and disks. Parsed once, here, and typed from then on.

import type { Brand } from './brand.js';
import { MAX_CONSUMER_BYTES, MAX_NAME_BYTES } from './limits.js';
import * as patterns from './patterns.js';
import { checkText, refusal } from './text.js';

/** `KIND:ID`, for instance `nova:<uuid>` or `cli:alice`. */
export type Consumer = Brand<string, 'Consumer'>;
/** A file's name inside a volume: one path component, at most 255 bytes. */
export type DiskName = Brand<string, 'DiskName'>;
/** Who a consumer is, whatever it is called: see {@link userOf}. */
export type User = Brand<string, 'User'>;

const CONSUMER_KINDS = ['nova', 'vm', 'csi', 'docker', 'cli'] as const;
type ConsumerKind = (typeof CONSUMER_KINDS)[number];

const UUID = new RegExp(patterns.UUID);
const PLAIN_ID = new RegExp(`^${patterns.PLAIN_ID}$`);

/**
 * A consumer from `KIND:ID`. The UUIDs of `nova` and `vm` are brought to lower case; other IDs stay as they are.
 * Everything else is refused (`invalid-argument`).
 */
export function parseConsumer(value: unknown, field: string): Consumer {
  const text = checkText(value, field, { maxBytes: MAX_CONSUMER_BYTES, blanks: 'refused' });
  const colon = text.indexOf(':');
  const kind = CONSUMER_KINDS.find((known) => known === text.slice(0, colon));
  if (colon < 0 || kind === undefined) {
    throw refusal(field, `must be KIND:ID, where KIND is one of ${CONSUMER_KINDS.join(', ')}`);
  }
  return `${kind}:${parseId(kind, text.slice(colon + 1), field)}` as Consumer;
}

function parseId(kind: ConsumerKind, id: string, field: string): string {
  switch (kind) {
    case 'nova':
    case 'vm': {
      if (!UUID.test(id)) throw refusal(field, `must be ${kind}:UUID, with the UUID in its dashed form`);
      return id.toLowerCase();
    }
    case 'csi':
    case 'docker':
    case 'cli':
      if (!PLAIN_ID.test(id)) {
        throw refusal(
          field,
          `must be ${kind}:ID, where ID begins with a letter or digit and has only letters, digits and . _ : @ = + ~ -`,
        );
      }
      return id;
  }
}

/**
 * The user behind a consumer. A Nova instance is its libvirt domain, so `nova:<uuid>` and `vm:<uuid>` are one user
 * (`vm:<uuid>`); every other consumer is a user of its own. Compare users, not consumers, to learn who still uses what.
 */
export function userOf(consumer: Consumer): User {
  return consumer.replace(/^nova:/, 'vm:') as User;
}

/**
 * The name of a disk: one path component of at most 255 bytes, not `.` or `..`, without slash, control or invisible
 * characters, with plain spaces only inside, and not beginning with `-`, where a program would read an option.
 */
export function parseDiskName(value: unknown, field: string): DiskName {
  const text = checkText(value, field, { maxBytes: MAX_NAME_BYTES, blanks: 'inside' });
  if (text === '.' || text === '..') throw refusal(field, 'must name a file, not a directory');
  if (text.includes('/')) throw refusal(field, 'must be a single path component, without a slash');
  if (text.startsWith('-')) throw refusal(field, 'must not begin with a dash');
  return text as DiskName;
}
