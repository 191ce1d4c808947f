// Installs the Debian packages that the real tests want and that are missing, where this is root on a Debian; elsewhere,
// or where the registry cannot be reached, the tests that need them say so by name. Installing starts and stops no daemon.

import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { fetchGuestKernel } from './guest-kernel.mjs';
import { installNewerNova } from './newer-nova.mjs';
import { run } from './stages.mjs';

/** A file of each package tells whether it is there. */
const WANTED = {
  systemd: '/lib/systemd/systemd',
  dbus: '/usr/bin/dbus-daemon',
  'systemd-container': '/usr/bin/systemd-nspawn',
  'qemu-utils': '/usr/bin/qemu-img',
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'libvirt-daemon-system': '/etc/libvirt/qemu.conf',
  'libvirt-clients': '/usr/bin/virsh',
  'libxml2-utils': '/usr/bin/xmllint',
  'busybox-static': '/bin/busybox',
  'python3-nova': '/usr/lib/python3/dist-packages/nova/version.py',
  'python3-venv': '/usr/share/doc/python3-venv',
};

/** Debian's rule for daemons of packages (invoke-rc.d(8)): a program that says with status 101 that none may be touched. */
const POLICY = '/usr/sbin/policy-rc.d';

/** Sees to it that these packages are there. Resolves with why they are not, or with null. */
export async function installOnly(...names) {
  const missing = names.filter((name) => !existsSync(WANTED[name]));
  return missing.length === 0 ? null : install(missing);
}

/** Sees to it that everything wanted is there. Resolves with why it is not, or with null. */
export async function installPackages() {
  const lacking = await installOnly(...Object.keys(WANTED));
  const lacked = [lacking, await fetchGuestKernel(), await installNewerNova()].filter((why) => why !== null);
  return lacked.length === 0 ? null : lacked.join('\n       ');
}

async function install(missing) {
  const names = missing.join(', ');
  if (process.geteuid() !== 0) return `missing: ${names}; only root can install them`;
  if (!existsSync('/usr/bin/apt-get')) return `missing: ${names}; this is not a Debian`;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  process.stderr.write(`       installing ${names}\n`);
  const policy = !existsSync(POLICY);
  if (policy) {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n');
    chmodSync(POLICY, 0o755);
  }
  try {
    await run(['apt-get', 'update', '-qq'], { env });
    const words = ['install', '-y', '-qq', '--no-install-recommends', ...missing];
    const { status, output } = await run(['apt-get', ...words], { env });
    return status === 0 ? null : `missing: ${names}; apt-get failed:\n${output.slice(-2000)}`;
  } finally {
    if (policy) rmSync(POLICY);
  }
}
