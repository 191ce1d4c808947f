// Installs the Debian packages that the real tests want and that are missing, where this is root on a Debian; elsewhere,
// or where the registry cannot be reached, the tests that need them say so by name.

import { existsSync } from 'node:fs';
import { run } from './stages.mjs';

/** A program of each package tells whether it is there. */
const WANTED = {
  systemd: '/lib/systemd/systemd',
  dbus: '/usr/bin/dbus-daemon',
  'systemd-container': '/usr/bin/systemd-nspawn',
  'qemu-utils': '/usr/bin/qemu-img',
};

/** Sees to it that everything wanted is there. Resolves with why it is not, or with null. */
export async function installPackages() {
  const missing = Object.keys(WANTED).filter((name) => !existsSync(WANTED[name]));
  if (missing.length === 0) return null;
  if (process.geteuid() !== 0) return `missing: ${missing.join(', ')}; only root can install them`;
  if (!existsSync('/usr/bin/apt-get')) return `missing: ${missing.join(', ')}; this is not a Debian`;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  process.stdout.write(`       installing ${missing.join(', ')}\n`);
  await run(['apt-get', 'update', '-qq'], { env });
  const { status, output } = await run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing], {
    env,
  });
  return status === 0 ? null : `missing: ${missing.join(', ')}; apt-get failed:\n${output.slice(-2000)}`;
}
