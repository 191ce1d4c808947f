// A broker's use of units, as a program: `units-driver CHOICE TRUSTED METHOD ARGUMENTS-AS-JSON` prints the answer as JSON.
// Run inside a container, where a test's own process is not.

import { KernelUnits } from '../../../src/sys/units.js';

const [choice, trusted, method, json] = process.argv.slice(2) as [
  'detect' | 'scope' | 'session',
  string,
  'way' | 'start' | 'state' | 'kill' | 'list' | 'containment',
  string,
];
const units = new KernelUnits({ trustedDirs: [trusted], choice });
const call = units[method].bind(units) as (...args: unknown[]) => Promise<unknown>;
const began = performance.now();
const answer = await call(...(JSON.parse(json) as unknown[])).catch((error: unknown) => ({ thrown: String(error) }));
process.stdout.write(JSON.stringify({ answer, tookMs: performance.now() - began }) + '\n');
