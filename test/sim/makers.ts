// The real parts of Fairlead, put together as its composition roots do it, with the simulated machine, disk and link in
// the place of the real ones. Mutants replace one of these makers.

import { backendOf, parseVolume } from '../../src/backends/registry.js';
import type { BackendSettings, SettingsByBackend } from '../../src/backends/backend.js';
import { mountpointOf } from '../../src/core/paths.js';
import { type Context, createContext } from '../../src/broker/context.js';
import { serve } from '../../src/broker/dispatch.js';
import type { Volume } from '../../src/core/volume.js';
import type { EngineSettings, EvidencePolicy } from '../../src/engine/ports.js';
import { openPlace } from './ledger.js';
import type { BrokerParts, BrokerProcess, Makers } from './processes.js';
import type { Options } from './world.js';
import { BASES, LOCAL_ROOT } from './world.js';

/** Whose directories may lie on the way to a leaf; strangers' mounts are his, too. */
const TRUSTED_OWNER = 1000;
const AGENT = { uid: 990, pid: 1 } as const;
const COMMON: Omit<BackendSettings, 'mountBase'> = {
  mountTimeoutMs: 30_000,
  probeTimeoutMs: 2000,
  hardening: { nosuid: true, nodev: true, noexec: true, nosymfollow: true },
  accessUid: 0,
  accessGid: 0,
  driverCache: 'none',
  driverIo: 'native',
};

/** The configuration of the simulated host. */
export const SETTINGS: SettingsByBackend = {
  quobyte: {
    ...COMMON,
    mountBase: BASES.quobyte,
    mountHelper: '/usr/sbin/mount.quobyte',
    unmountHelper: null,
    clientConfig: null,
    registries: [],
    rootSize: 'warn',
  },
  local: { ...COMMON, mountBase: BASES.local, roots: [LOCAL_ROOT] },
};

function engineSettings(bootId: string, evidence: EvidencePolicy): EngineSettings {
  return {
    authorise: (volume) => authorise(volume),
    mountpointOf: (volume) => mountpointOf(SETTINGS[volume.backend].mountBase, volume.leaf),
    parseVolume: (url) => parseVolume(url),
    onVanish: 'remount',
    healthIntervalMs: 15_000,
    bootId,
    evidence,
  };
}

function authorise(volume: Volume): void {
  switch (volume.backend) {
    case 'quobyte':
      backendOf('quobyte').authorise(volume, SETTINGS.quobyte);
      return;
    case 'local':
      backendOf('local').authorise(volume, SETTINGS.local);
      return;
  }
}

/** A broker on that machine, with what `change` makes of its parts. */
export function brokerOf({ machine, reach, log }: BrokerParts, change: (real: Context) => Context): BrokerProcess {
  const settings = { agentUid: AGENT.uid, backends: SETTINGS, trustedBaseOwners: [TRUSTED_OWNER] };
  const context = change(createContext({ machine, settings, log, reach }));
  return { accept: (transport) => serve(context, AGENT, transport) };
}

/** Everything real. */
export const REAL: Makers = {
  settings: engineSettings,
  wrapBroker: (client) => client,
  wrapLedger: (ledger) => ledger,
  wrapEngine: (engine) => engine,
  openStore: openPlace,
  broker: (parts) => brokerOf(parts, (context) => context),
};

/** A run of the real Fairlead. */
export function realOptions(trace: Options['trace']): Options {
  return { makers: REAL, trace };
}
