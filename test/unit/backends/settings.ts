// Settings as the checked configuration gives them, for the tests of the backends.

import type { LocalSettings, QuobyteSettings } from '../../../src/backends/backend.js';

const common = {
  mountTimeoutMs: 60_000,
  probeTimeoutMs: 5000,
  hardening: { nosuid: true, nodev: true, noexec: true, nosymfollow: true },
  accessUid: 64_055,
  accessGid: 64_055,
  driverCache: 'none',
  driverIo: 'native',
} as const;

/** The defaults of `[backend.quobyte]`, deep-frozen, so that a backend that writes to its settings is caught. */
export function quobyteSettings(change: Partial<QuobyteSettings> = {}): QuobyteSettings {
  return Object.freeze({
    ...common,
    mountBase: '/var/lib/fairlead/mnt/quobyte',
    mountHelper: '/usr/sbin/mount.quobyte',
    unmountHelper: null,
    clientConfig: null,
    registries: Object.freeze([]),
    rootSize: 'warn',
    ...change,
  });
}

/** `[backend.local]` with these roots. */
export function localSettings(roots: readonly string[]): LocalSettings {
  return Object.freeze({ ...common, mountBase: '/var/lib/fairlead/mnt/local', roots: Object.freeze([...roots]) });
}
