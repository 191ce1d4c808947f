// The HTTP interface tried by its own description: node dist/scripts/api.js [EXAMPLES [SEED]]. The document that a running agent serves is
// linted; then requests of every operation are made of it, right ones and wrong ones, and each answer must be as the document says: wrong ones
// are refused, the status and the form of the answer are documented, methods that a path has not are 405. Needs root, namespaces of its own
// (node scripts/isolated.mjs) and what scripts/api-tools.mjs installs. The last line is `N passed, N failed, N skipped`.

import { writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Client } from '../test/rig/client.js';
import { Host } from '../test/rig/host.js';
import { ROOT, run } from '../test/rig/programs.js';

/** Requests of each operation. */
const EXAMPLES = 50;
const MAX_MINUTES = 20;
/** All that the document can be held to. That every right request succeeds is not among them: volumes that do not exist are right requests. */
const CHECKS = [
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'unsupported_method',
];
/** Rules of the linter that do not fit: the server is a unix socket, and parts of a condition need not repeat what they are about. */
const SKIPPED_RULES = ['no-server-example.com', 'no-required-schema-properties-undefined'];

const home = join(ROOT, '.cache/api');
const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/**
 * The document with patterns that Python can make texts of: it knows no Unicode properties. They allow somewhat more than the real ones, so
 * that whatever they forbid is forbidden.
 */
function forPython(document: string): string {
  return document
    .replaceAll('\\\\p{L}\\\\p{N}', '\\\\w')
    .replaceAll('\\\\p{M}', '\\\\u0080-\\\\uffff')
    .replaceAll('\\\\p{Cc}', '\\\\u0000-\\\\u001f\\\\u007f')
    .replaceAll(/\\\\p\{\w+\}/g, '');
}

async function main(examples: number, seed: number): Promise<number> {
  await using host = await Host.boot();
  const client = new Client(host.socket);
  const document = join(host.dir, 'openapi.json');
  const served = JSON.stringify((await client.ask('GET', '/v1/openapi.json')).body);
  writeFileSync(document, served);
  const copy = join(host.dir, 'openapi-for-python.json');
  writeFileSync(copy, forPython(served));
  client.close();
  // The client knows no unix sockets.
  const bridge = createServer({ allowHalfOpen: true }, (socket) => {
    const inside = connect({ path: host.socket, allowHalfOpen: true });
    for (const [from, to] of [
      [socket, inside],
      [inside, socket],
    ] as const) {
      from.pipe(to);
      from.on('error', () => to.destroy());
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => bridge.once('listening', resolve));
  const { port } = bridge.address() as AddressInfo;
  const skip = SKIPPED_RULES.flatMap((rule) => ['--skip-rule', rule]);
  const steps: readonly (readonly [string, string, readonly string[]])[] = [
    ['lint', join(home, 'node_modules/.bin/redocly'), ['lint', document, '--max-problems', '20', ...skip]],
    [
      `requests, seed ${seed}`,
      join(home, 'venv/bin/schemathesis'),
      [
        'run',
        copy,
        ...['--url', `http://127.0.0.1:${port}`, '--checks', CHECKS.join(','), '--phases', 'examples,coverage,fuzzing'],
        ...['--max-examples', String(examples), '--seed', String(seed), '--no-color'],
      ],
    ],
  ];
  let failed = 0;
  const settle = (name: string, isWell: boolean, output: string): void => {
    say(`${isWell ? 'ok    ' : 'FAILED'} ${name}`);
    if (isWell) return;
    failed += 1;
    say(output.slice(-20_000));
  };
  for (const [name, program, args] of steps) {
    const env = { REDOCLY_TELEMETRY: 'off', HOME: host.dir };
    const { status, stdout, stderr } = await run(program, args, {
      cwd: host.dir,
      env,
      deadlineMs: MAX_MINUTES * 60_000,
    });
    settle(name, status === 0 && !/You have \d+ warning/.test(stdout + stderr), stdout + stderr);
  }
  const unforeseen = host
    .log()
    .split('\n')
    .filter((line) => line.includes('http-unforeseen-error'));
  settle('no error that nobody foresaw', unforeseen.length === 0, unforeseen.join('\n'));
  bridge.close();
  say(`${steps.length + 1 - failed} passed, ${failed} failed, 0 skipped`);
  return failed;
}

const [examples, seed] = process.argv.slice(2).map(Number);
process.exitCode = (await main(examples ?? EXAMPLES, seed ?? Math.floor(Math.random() * 2 ** 31))) === 0 ? 0 : 1;
