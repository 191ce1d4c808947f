// Gets the kernel that the tests' guest boots: Debian's for clouds, unpacked below .cache and never installed, so that no
// initramfs, boot loader or module tree of this machine changes.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from './stages.mjs';

/** Debian's package that depends on the newest one. */
const NEWEST = 'linux-image-cloud-amd64';
const HOME = join(ROOT, '.cache/guest-kernel');
const SCRATCH = `${HOME}.new`;

/** Sees to it that the kernel is in .cache/guest-kernel. Resolves with why it is not, or with null. */
export async function fetchGuestKernel() {
  if (existsSync(HOME)) return null;
  if (process.arch !== 'x64') return 'no guest kernel: the tests know one for x86-64 only';
  if (!existsSync('/usr/bin/apt-get')) return 'no guest kernel: this is not a Debian';
  try {
    const name = (await dependency()) ?? (await update(), await dependency());
    if (name === undefined) return `no guest kernel: apt-cache knows no ${NEWEST}`;
    process.stdout.write(`       getting ${name} for the tests' guest\n`);
    rmSync(SCRATCH, { recursive: true, force: true });
    mkdirSync(join(SCRATCH, 'tree'), { recursive: true });
    const download = () => run(['env', '-C', SCRATCH, 'apt-get', 'download', '-qq', name]);
    let got = await download();
    // The lists may be older than what the archive still has.
    if (got.status !== 0) got = (await update(), await download());
    const file = readdirSync(SCRATCH).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) return `no guest kernel: apt-get download failed:\n${got.output.slice(-1000)}`;
    const unpacked = await run(['dpkg-deb', '-x', join(SCRATCH, file), join(SCRATCH, 'tree')]);
    if (unpacked.status !== 0) return `no guest kernel: dpkg-deb failed:\n${unpacked.output.slice(-1000)}`;
    renameSync(join(SCRATCH, 'tree'), HOME);
    return null;
  } finally {
    rmSync(SCRATCH, { recursive: true, force: true });
  }
}

/** The package that the newest kernel is in now. */
async function dependency() {
  const { output } = await run(['apt-cache', 'depends', '--important', NEWEST]);
  return /^\s*Depends: (linux-image-[a-z0-9.+-]+)$/m.exec(output)?.[1];
}

/** Only root can. */
async function update() {
  if (process.geteuid() === 0) await run(['apt-get', 'update', '-qq'], { env: { DEBIAN_FRONTEND: 'noninteractive' } });
}
