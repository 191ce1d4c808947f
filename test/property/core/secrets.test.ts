import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redact } from '../../../src/core/secrets.js';
import { hasForbidden, utf8Length } from '../../../src/core/text.js';

const secret = fc.stringMatching(/^[A-Za-z0-9+/=_.~!$%^*-]{8,30}$/).map((text) => `Zq${text}qZ`);
const noise = fc
  .oneof(fc.string({ maxLength: 20 }), fc.string({ unit: 'binary', maxLength: 20 }))
  .map((text) => `${text.replaceAll(/["'\\]/g, '')}\n`);
const shapes: readonly ((secret: string) => string)[] = [
  (s) => `quobyte://admin:${s}@reg/vol`,
  (s) => `quobyte://${s}@reg/vol`,
  (s) => `password=${s}`,
  (s) => `{"client_secret": "${s}"}`,
  (s) => `access_key : ${s}`,
  (s) => `--token ${s}`,
  (s) => `Authorization: Bearer ${s}`,
  (s) => `reg/vol?key=${s}`,
];

describe('redacted text', () => {
  it('has no seeded credential, is one line, and keeps its bound', () => {
    fc.assert(
      fc.property(
        noise,
        secret,
        fc.constantFrom(...shapes),
        noise,
        fc.integer({ min: 10, max: 200 }),
        (head, hidden, shape, tail, most) => {
          const text = `${head}${shape(hidden)}\n${tail}`;
          const shown = redact(text, []);
          expect(shown).not.toContain(hidden);
          expect(hasForbidden(shown)).toBe(false);
          expect(utf8Length(redact(text, [], most))).toBeLessThanOrEqual(most);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('has no hidden name', () => {
    fc.assert(
      fc.property(noise, fc.stringMatching(/^[a-z][a-z0-9._+=~:-]{7,30}$/), noise, (head, name, tail) => {
        expect(redact(`${head}x${name}y ${name} ${tail}`, [name])).not.toContain(name);
      }),
      { numRuns: 1000 },
    );
  });
});
