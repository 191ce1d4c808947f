// The OpenAPI document says what the routes do: whatever a route takes the document allows, for every field and every pair of fields that
// exclude each other; and what the document forbids the route refuses. Where the document says less (sums of bytes, bounds of a number
// inside a URL), it is the route that is stricter, and those places are named here.

import { Ajv2020 } from 'ajv/dist/2020.js';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseVolume, VOLUME_PATTERN } from '../../../src/backends/registry.js';
import { BLOCK_BYTES, MAX_IOTUNE, parseDiskOptions, parseSecret, parseSerial } from '../../../src/core/disk-options.js';
import { BUSES, FORMATS, IOTUNE_KEYS, parseTargetDevice } from '../../../src/core/disk.js';
import { parseDomainName } from '../../../src/core/domains.js';
import { FairleadError } from '../../../src/core/errors.js';
import { MAX_DISK_BYTES } from '../../../src/core/limits.js';
import { parseConsumer, parseDiskName } from '../../../src/core/names.js';
import * as patterns from '../../../src/core/patterns.js';
import { utf8Length } from '../../../src/core/text.js';
import { checkBody } from '../../../src/doors/http/body.js';
import { openApi } from '../../../src/doors/http/openapi.js';
import type { House } from '../../../src/doors/route.js';
import { ROUTES } from '../../../src/doors/routes.js';

const document = openApi({ version: '0', routes: ROUTES, volumePattern: VOLUME_PATTERN }) as {
  components: { schemas: Record<string, object> };
};
const ajv = new Ajv2020({ strict: false });
ajv.addSchema(document, 'openapi');
/** Whether the named form of the document allows a value. */
function allowing(name: string): (value: unknown) => boolean {
  const validate = ajv.compile({ $ref: `openapi#/components/schemas/${name}` });
  return (value) => validate(value);
}

/** A house in which everything that is well formed is done. */
const house = {
  engine: new Proxy({}, { get: () => () => ({ mounts: [] }) }),
  vm: new Proxy({}, { get: () => () => ({}) }),
  volumes: {
    parseVolume,
    mountBaseOf: () => '/mnt',
    driverOf: () => ({ cache: 'none', io: 'native' }),
  },
  version: '0',
} as unknown as House;

/** Whether the route takes the body: null, or the refusal. */
function refusalOf(name: string, body: unknown): string | null {
  const route = ROUTES.find((one) => one.name === name);
  if (route === undefined || route.body === null) throw new Error(`there is no route ${name} with a body`);
  const asked = { body: undefined as unknown, leaf: '', flags: new Set<string>() };
  try {
    asked.body = checkBody(route.body, body);
    void route.answer(asked, { deadlineMs: 1, signal: new AbortController().signal }, house);
    return null;
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'invalid-argument') return error.message;
    if (error instanceof FairleadError) return null;
    throw error;
  }
}

/** Text that looks like what is wanted, and text that does not. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('a', 'Z', '0', '-', '.', '/', ' ', '_', ':', '@', 'ä', '\u200b', '\u00a0', '\n', '~'),
    maxLength: 8,
  }),
);
const takes = (parse: (value: unknown, field: string) => unknown) => (text: unknown) => {
  try {
    parse(text, 'field');
    return true;
  } catch (error) {
    if (error instanceof FairleadError) return false;
    throw error;
  }
};
const UUID = '6e1a2c0e-0000-4000-8000-000000000001';

describe('each grammar in the document is that of its parser', () => {
  const grammars: readonly [string, string, (text: string) => boolean, fc.Arbitrary<string>][] = [
    [
      'consumer',
      patterns.CONSUMER,
      takes(parseConsumer),
      fc
        .tuple(
          fc.constantFrom('nova:', 'vm:', 'csi:', 'cli:', 'x:', ''),
          fc.oneof(hostile, fc.constantFrom(UUID, UUID.toUpperCase(), `${UUID}0`)),
        )
        .map((parts) => parts.join('')),
    ],
    [
      'disk',
      patterns.DISK_NAME,
      takes(parseDiskName),
      fc.oneof(hostile, fc.constantFrom('.', '..', '...', ' a', 'a ', '-a', 'a b')),
    ],
    ['domain', patterns.DOMAIN, takes(parseDomainName), hostile],
    [
      'device',
      patterns.DEVICE,
      takes(parseTargetDevice),
      fc.oneof(hostile, fc.constantFrom('vda', 'xvdzzz', 'sdaaaa', 'hd')),
    ],
    ['serial', patterns.SERIAL, takes(parseSerial), hostile],
    [
      'secret',
      patterns.UUID,
      takes(parseSecret),
      fc.oneof(hostile, fc.constantFrom(UUID, UUID.toUpperCase(), ` ${UUID}`)),
    ],
  ];
  test.each(grammars)('%s', (_, pattern, accepts, texts) => {
    const grammar = new RegExp(pattern, 'u');
    fc.assert(
      fc.property(texts, (text) => {
        // The document counts characters, the parser bytes.
        if (utf8Length(text) <= 128) expect([text, grammar.test(text)]).toEqual([text, accepts(text)]);
      }),
      { numRuns: 3000 },
    );
  });
  test('whatever is taken for a volume URL matches its pattern', () => {
    const grammar = new RegExp(VOLUME_PATTERN, 'u');
    const accepts = takes(parseVolume);
    const part = fc.oneof(
      hostile,
      fc.constantFrom('reg1', 'reg1:7861', '[::1]:1', '10.0.0.1', 'vol', 'a.b', '..', 'x,y'),
    );
    const texts = fc
      .tuple(fc.constantFrom('quobyte://', 'local://', 'local:///', ''), fc.array(part, { maxLength: 4 }))
      .map(([scheme, parts]) => scheme + parts.join('/'));
    let taken = 0;
    fc.assert(
      fc.property(texts, (text) => {
        if (!accepts(text)) return;
        taken += 1;
        expect([text, grammar.test(text)]).toEqual([text, true]);
      }),
      { numRuns: 5000 },
    );
    expect(taken).toBeGreaterThan(100);
  });
  test.each([
    'quobyte://reg1:7861/a/b',
    'nfs://x/y',
    'local://x',
    'local:///a/../b',
    'local:///a//b',
    'local:///-a',
    'quobyte://u@reg/v',
    'quobyte:///v',
    'quobyte://reg/',
    ' quobyte://reg/v',
    '',
  ])('the pattern of volume URLs refuses %j', (text) => expect(new RegExp(VOLUME_PATTERN, 'u').test(text)).toBe(false));
});

/** A field that may be left out, right, or wrong in a way that the document can tell. */
const field = (...values: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...values) },
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom(7, null, 'x/') },
  );
const body = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<object> =>
  fc.record(fields).map((made) => JSON.parse(JSON.stringify(made)) as object);
const url = field('quobyte://reg1:7861/vol', 'local:///srv/pool');
const disk = field('disk-1');
const timeoutMs = field(1, 3_600_000, 0, 1.5, 3_600_001);
const bytes = field(512, MAX_DISK_BYTES, 513, 0, MAX_DISK_BYTES + 512, 512.5);
const flag = field(true, false);
const options = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  body({
    serial: field('abc', 'a b', ' a'),
    discard: field('unmap', 'ignore'),
    shareable: flag,
    alias: field('ua-x', 'x'),
    unit: field(0, 16_383, 16_384, 1.5),
    encryption: field({ secret: UUID }, {}, { secret: UUID, more: 1 }),
    blockSizes: field(
      {},
      { physical: 4096 },
      { logical: 512, physical: 4096 },
      { physical: 1000 },
      { physical: BLOCK_BYTES.max * 2 },
    ),
  }),
);
const routes: readonly [string, fc.Arbitrary<object>][] = [
  [
    'connect',
    body({
      url,
      disk,
      consumer: field('cli:a', `vm:${UUID}`),
      readOnly: flag,
      dryRun: flag,
      timeoutMs,
      more: fc.constantFrom(undefined, undefined, 1),
    }),
  ],
  ['disconnect', body({ url, disk, consumer: field('cli:a'), timeoutMs })],
  ['validate', body({ url, timeoutMs })],
  [
    'diskConfig',
    body({
      url,
      disk,
      format: field(...FORMATS, 'vmdk'),
      target: field('vdb', 'b'),
      bus: field(...BUSES, 'nvme'),
      readOnly: flag,
      options,
    }),
  ],
  [
    'vmAttach',
    body({
      domain: field('web-1', UUID),
      url,
      disk,
      format: field(...FORMATS),
      target: field('vdb'),
      bus: field(...BUSES),
      readOnly: flag,
      persistent: flag,
      createBytes: bytes,
      options,
    }),
  ],
  ['vmDetach', body({ domain: field('web-1'), target: field('vdb'), url, disk, timeoutMs })],
  ['vmExtend', body({ domain: field('web-1'), target: field('vdb'), bytes, timeoutMs })],
];

test.each(routes)('%s takes what the document allows, and refuses what it forbids', (name, bodies) => {
  const schema = `${name.charAt(0).toUpperCase()}${name.slice(1)}Request`;
  const allows = allowing(schema);
  let taken = 0;
  fc.assert(
    fc.property(bodies, (given) => {
      const refusal = refusalOf(name, given);
      if (refusal === null) taken += 1;
      expect([given, allows(given)]).toEqual([given, refusal === null]);
    }),
    { numRuns: 4000 },
  );
  expect(taken).toBeGreaterThan(40);
});

test('limits exclude each other in the document as in the parser, but for bursts that are below their limit', () => {
  const amount = fc.oneof(
    { weight: 40, arbitrary: fc.constant(undefined) },
    { weight: 20, arbitrary: fc.constantFrom(0, 5, MAX_IOTUNE) },
    { weight: 1, arbitrary: fc.constantFrom(1.5, MAX_IOTUNE * 2) },
  );
  const limits = fc.record(Object.fromEntries(IOTUNE_KEYS.map((key) => [key, amount])));
  const allows = allowing('DiskOptions');
  let taken = 0;
  fc.assert(
    fc.property(limits, (made) => {
      const given = JSON.parse(JSON.stringify({ iotune: made })) as { iotune: Record<string, number> };
      const isTaken = takes((value, name) => parseDiskOptions(value, name))(given);
      if (isTaken) taken += 1;
      const isBelow = Object.entries(given.iotune).some(
        ([key, value]) => key.endsWith('_max') && value > 0 && value < (given.iotune[key.replace('_max', '')] ?? 0),
      );
      if (!isBelow) expect([given, allows(given)]).toEqual([given, isTaken]);
      else if (isTaken) expect(allows(given)).toBe(true);
    }),
    { numRuns: 5000 },
  );
  expect(taken).toBeGreaterThan(100);
});

test('every form has a name, and none is looser than its fields', () => {
  const { schemas } = document.components;
  expect(Object.keys(schemas)).toEqual(
    expect.arrayContaining(['ConnectRequest', 'ConnectReply', 'VolumeUrl', 'DiskOptions', 'Error']),
  );
  const nameless = Object.entries(schemas).filter(([, schema]) => Object.keys(schema).length === 0);
  expect(nameless).toEqual([]);
});
