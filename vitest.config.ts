import { defineConfig } from 'vitest/config';

// Three families: `fast` needs nothing but Node; `sim` is the deterministic simulation; `real` needs root and Linux
// and is started by `scripts/real-tests` inside namespaces of its own.
export default defineConfig({
  test: {
    projects: [
      {
        test: { name: 'fast', include: ['test/unit/**/*.test.ts', 'test/property/**/*.test.ts'], testTimeout: 20_000 },
      },
      { test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 600_000 } },
      {
        test: {
          name: 'real',
          include: ['test/real/**/*.test.ts', 'test/attack/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          pool: 'forks',
        },
      },
    ],
  },
});
