import { defineConfig } from 'vitest/config';

// Three families: `fast` needs nothing but Node; `sim` is the deterministic simulation; `real` needs root and Linux
// and is started by `make test` inside namespaces of its own.
export default defineConfig({
  test: {
    // Most fast tests wait for something now and then, so more of them than there are processors may run at once.
    maxWorkers: 4,
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
