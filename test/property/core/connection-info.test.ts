// Nova's connection record with anything at all in any of its members: it becomes a typed value or is refused by the member's name, nothing of
// the record is repeated or changed, and what comes out has only what has a name.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseVolume } from '../../../src/backends/registry.js';
import { parseConnectionInfo, type ConnectionInfo } from '../../../src/core/connection-info.js';
import { FairleadError } from '../../../src/core/errors.js';

/** So odd that it stands in no message by chance. */
const MARK = 'q7Zx-mark';
const marked = fc.oneof(
  fc.constantFrom(MARK, [MARK], { [MARK]: MARK }, `r/${MARK}`, `-${MARK}`, `a:${MARK}@r/v`),
  fc.jsonValue().map((value) => value),
  fc.string({ unit: 'binary' }),
);
const place = fc.constantFrom(
  ['driver_volume_type'],
  ['data'],
  ['serial'],
  ['multiattach'],
  ['mount_point_base'],
  ...[
    'export',
    'name',
    'format',
    'options',
    'qos_specs',
    'access_mode',
    'encrypted',
    'discard',
    'volume_id',
    'later',
  ].map((one) => ['data', one]),
  ['data', 'logical_block_size'],
  ['data', 'qos_specs', 'total_bytes_sec'],
  ['data', 'qos_specs', MARK],
);

function record(path: readonly string[], value: unknown): Record<string, unknown> {
  const specs: Record<string, unknown> = { read_iops_sec: '5' };
  const data: Record<string, unknown> = { export: 'r/v', name: 'disk', qos_specs: specs };
  const whole: Record<string, unknown> = { driver_volume_type: 'quobyte', data };
  const at = [whole, data, specs][path.length - 1] ?? whole;
  at[path.at(-1) ?? ''] = value;
  return whole;
}

function parsed(given: unknown): ConnectionInfo | FairleadError {
  try {
    return parseConnectionInfo(given, 'info', { parseVolume });
  } catch (error) {
    if (error instanceof FairleadError) return error;
    throw error;
  }
}

describe('a record with anything in one of its members', () => {
  it('becomes a value with known members only, or is refused by the name of a member, and stays as it was', () => {
    fc.assert(
      fc.property(place, marked, (path, value) => {
        const given = record(path, value);
        const before = structuredClone(given);
        const result = parsed(given);
        expect(given).toEqual(before);
        if (result instanceof FairleadError) {
          expect(result.code).toBe('invalid-argument');
          const [field, member] = [result.field ?? '', ['info', ...path].join('.')];
          // A member that is not there, because what it should be in is something else, is named itself.
          expect(field.startsWith(member) || member.startsWith(`${field}.`)).toBe(true);
          expect(result.message).not.toContain(MARK);
        } else {
          expect(Object.keys(result).sort()).toEqual(
            ['access', 'disk', 'encrypted', 'format', 'options', 'unknownLimits', 'volume'].sort(),
          );
          expect(result.volume.backend).toBe('quobyte');
          expect(result.disk).not.toMatch(/[/\0]|^\.{1,2}$/);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('that is no record at all is refused', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), (value) => {
        expect(parsed(value)).toBeInstanceOf(FairleadError);
      }),
    );
  });
});
