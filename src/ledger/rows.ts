// Rows to records and back. A row is outside text: a bad disk, an older program or a hand may have written it, so each is
// parsed as strictly as a request. What is refused here (`invalid-argument`, naming the column and the rule, never the
// value) is set aside by the store. No SQL here.

import { FairleadError } from '../core/errors.js';
import { MAX_EXPORT_BYTES, MAX_PATH_BYTES } from '../core/limits.js';
import { parseConsumer, parseDiskName } from '../core/names.js';
import { parseInteger } from '../core/numbers.js';
import type { AttachmentRecord, HoldRecord, MountRecord, OperationId, OperationRecord } from '../core/records.js';
import { STEP_KINDS, type Step } from '../core/steps.js';
import { checkText, refusal } from '../core/text.js';
import { BACKEND_NAMES, isLeaf, leafOf, type Export, type Leaf, type Volume, type VolumeUrl } from '../core/volume.js';

/** A row as SQLite gives or takes it, by column. */
export type Row = Readonly<Record<string, string | number | bigint | null>>;

const MOUNT_STATES = ['mounting', 'mounted', 'releasing'] as const satisfies readonly MountRecord['state'][];
const OPERATION_KINDS = ['connect', 'release', 'recover'] as const satisfies readonly OperationRecord['kind'][];
const HOLD_REASONS = ['inherited'] as const satisfies readonly HoldRecord['reason'][];

/** Identifiers that we make ourselves: of attachments, operations and kernel boots. */
const IDENTIFIER = /^[0-9A-Za-z_-]{1,64}$/;
const ISO_8601 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/;
/** Steps of one operation; plans have fewer than ten. */
const MAX_STEPS = 64;

/** One of `allowed`, or a refusal. */
function oneOf<Word extends string>(row: Row, column: string, allowed: readonly Word[]): Word {
  const word = allowed.find((known) => known === row[column]);
  if (word === undefined) throw refusal(column, 'has a word that this version does not know');
  return word;
}

function identifier(row: Row, column: string): string {
  const text = row[column];
  if (typeof text !== 'string' || !IDENTIFIER.test(text)) throw refusal(column, 'is not an identifier');
  return text;
}

function date(row: Row, column: string): string {
  const text = row[column];
  if (typeof text !== 'string' || !ISO_8601.test(text)) throw refusal(column, 'is not an ISO 8601 date in UTC');
  return text;
}

function leaf(row: Row): Leaf {
  if (!isLeaf(row['leaf'])) throw refusal('leaf', 'is not 32 lower-case hex digits');
  return row['leaf'];
}

function flag(row: Row, column: string): boolean {
  return parseInteger(row[column], column, { min: 0, max: 1 }) === 1;
}

/** The leaf is the digest of the export, so an export that lost or gained a character is noticed. */
function volume(row: Row): Volume {
  const backend = oneOf(row, 'backend', BACKEND_NAMES);
  const exported = checkText(row['export'], 'export', { maxBytes: MAX_EXPORT_BYTES, blanks: 'inside' }) as Export;
  const url = `${backend}://${exported}` as VolumeUrl;
  if (row['url'] !== url) throw refusal('url', 'does not match backend and export');
  if (leaf(row) !== leafOf(exported)) throw refusal('leaf', 'does not match the export');
  return { backend, export: exported, url, leaf: leaf(row) };
}

function steps(row: Row): readonly Step[] {
  const parsed = parseJson(row['steps']);
  if (!Array.isArray(parsed) || parsed.length > MAX_STEPS) throw refusal('steps', 'is not a list of steps');
  return parsed.map((item: unknown): Step => {
    const kind = STEP_KINDS.find((known) => isRecord(item) && item['kind'] === known);
    if (kind === undefined) throw refusal('steps', 'has a step that this version does not know');
    return { kind };
  });
}

function parseJson(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw refusal('steps', 'is not JSON');
    throw error;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** A row of `mounts`. */
export function mountOf(row: Row): MountRecord {
  return { volume: volume(row), state: oneOf(row, 'state', MOUNT_STATES), bootId: identifier(row, 'boot_id') };
}

/** A row of `attachments`. */
export function attachmentOf(row: Row): AttachmentRecord {
  return {
    id: identifier(row, 'id'),
    consumer: parseConsumer(row['consumer'], 'consumer'),
    leaf: leaf(row),
    disk: row['disk'] === null ? null : parseDiskName(row['disk'], 'disk'),
    target: row['target'] === null ? null : target(row),
    readOnly: flag(row, 'read_only'),
    since: date(row, 'since'),
  };
}

function target(row: Row): string {
  const path = checkText(row['target'], 'target', { maxBytes: MAX_PATH_BYTES, blanks: 'inside' });
  if (!path.startsWith('/')) throw refusal('target', 'is not an absolute path');
  return path;
}

/** A row of `holds`. */
export function holdOf(row: Row): HoldRecord {
  return { leaf: leaf(row), reason: oneOf(row, 'reason', HOLD_REASONS), since: date(row, 'since') };
}

/** A row of `operations`. */
export function operationOf(row: Row): OperationRecord {
  const list = steps(row);
  return {
    id: identifier(row, 'id') as OperationId,
    kind: oneOf(row, 'kind', OPERATION_KINDS),
    volume: volume(row),
    steps: list,
    cursor: parseInteger(row['cursor'], 'cursor', { min: 0, max: list.length }),
    mountBegun: flag(row, 'mount_begun'),
    since: date(row, 'since'),
  };
}

function columnsOf({ backend, export: exported, url, leaf }: Volume): Row {
  return { backend, export: exported, url, leaf };
}

/** The row of a mount, if it can be read back. */
export function rowOfMount(mount: MountRecord): Row {
  return readable(mountOf, { ...columnsOf(mount.volume), state: mount.state, boot_id: mount.bootId });
}

/** The row of an attachment, if it can be read back. */
export function rowOfAttachment({ readOnly, ...rest }: AttachmentRecord): Row {
  const { id, consumer, leaf, disk, target, since } = rest;
  return readable(attachmentOf, { id, consumer, leaf, disk, target, read_only: Number(readOnly), since });
}

/** The row of a hold, if it can be read back. */
export function rowOfHold({ leaf, reason, since }: HoldRecord): Row {
  return readable(holdOf, { leaf, reason, since });
}

/** The row of an operation, if it can be read back. */
export function rowOfOperation(operation: OperationRecord): Row {
  const { id, kind, cursor, since } = operation;
  return readable(operationOf, {
    ...columnsOf(operation.volume),
    id,
    kind,
    steps: JSON.stringify(operation.steps),
    cursor,
    mount_begun: Number(operation.mountBegun),
    since,
  });
}

/** Nothing is ever acknowledged that the next start would have to set aside. */
function readable(parse: (row: Row) => unknown, row: Row): Row {
  try {
    parse(row);
    return row;
  } catch (error) {
    if (!(error instanceof FairleadError)) throw error;
    throw new FairleadError('internal', `A record was not written since it could not be read back: ${error.message}`, {
      cause: error,
    });
  }
}
