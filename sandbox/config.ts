// The Fairlead configuration that goes with a sandbox, and the directories that it names: root's, and writable by nobody else.
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Layout } from './layout.js';

/** Makes the directories that Fairlead expects to exist. DIR itself may come from mkdtemp, which is too private for an agent. */
export function prepareForFairlead(layout: Layout): void {
  for (const path of [layout.dir, layout.local, layout.fairlead, join(layout.fairlead, 'mnt')]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    chownSync(path, 0, 0);
    chmodSync(path, 0o755);
  }
}

/** The configuration, as TOML. */
export function fairleadConfig(layout: Layout): string {
  const quoted = (path: string): string => JSON.stringify(path);
  const below = (...names: string[]): string => quoted(join(layout.fairlead, ...names));
  return `state_dir = ${below('state')}
run_dir = ${below('run')}
trusted_helper_dirs = [${quoted(layout.bin)}, "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
isolated = true

[backend.quobyte]
mount_base = ${below('mnt', 'quobyte')}
mount_helper = ${quoted(join(layout.bin, 'mount.quobyte'))}
unmount_helper = ""
client_config = ""
registries = []
mount_timeout = "60s"
probe_timeout = "5s"

[backend.local]
mount_base = ${below('mnt', 'local')}
roots = [${quoted(layout.local)}]
`;
}
