// Mount calls: attributes, detached clones, attaching, unmounting. Numbers are those of Linux on every architecture
// that has them (asm-generic/unistd.h; all 4xx numbers are common). No policy here.

import type { Hardening } from '../../core/hardening.js';
import { errnoOf } from './errors.js';
import { Handle } from './files.js';
import { BUFFER, foreign, foreignAsync, INT, SIZE, systemCall, systemCallAsync, TEXT, UINT } from './foreign.js';

const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 0x1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const MOUNT_ATTR = { nosuid: 0x2, nodev: 0x4, noexec: 0x8, nosymfollow: 0x200000 } as const;
const MS_PRIVATE = 1 << 18;
const MNT_DETACH = 0x2;
const UMOUNT_NOFOLLOW = 0x8;

const mountSetattr = systemCall('mount_setattr', 442, [INT, TEXT, UINT, BUFFER, SIZE]);
const mountSetattrAsync = systemCallAsync('mount_setattr', 442, [INT, TEXT, UINT, BUFFER, SIZE]);

/**
 * mount_setattr(2), since Linux 5.12: sets (never clears) the attributes on the mount whose root the handle is; EINVAL
 * if it is not the root of a mount.
 */
export function setMountAttributes(handle: Handle, hardening: Hardening): void {
  const attributes = attributesFor(hardening, 0);
  mountSetattr(handle.fd, '', AT_EMPTY_PATH, attributes, attributes.length);
}

function attributesFor(hardening: Hardening, propagation: number): Buffer {
  let set = 0;
  for (const name of ['nosuid', 'nodev', 'noexec', 'nosymfollow'] as const) {
    if (hardening[name]) set |= MOUNT_ATTR[name];
  }
  // struct mount_attr: u64 attr_set, attr_clr, propagation, userns_fd.
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(BigInt(set), 0);
  attributes.writeBigUInt64LE(BigInt(propagation), 16);
  return attributes;
}

// The rest of a bind runs on pool threads: a walk that begins at a handle may have its filesystem confirm that the
// directory is still there (d_weak_revalidate; NFS and others have one).

const openTree = systemCallAsync('open_tree', 428, [INT, TEXT, UINT]);
/** A detached copy of the directory's mount with the directory as its root, without what is mounted below (open_tree(2)). */
export async function cloneTree(directory: Handle): Promise<Handle> {
  return new Handle(await openTree(directory.fd, '', OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
}

/** {@link setMountAttributes} on a tree that is not attached yet; what is mounted in it later stays in it. */
export async function hardenTree(tree: Handle, hardening: Hardening): Promise<void> {
  const attributes = attributesFor(hardening, MS_PRIVATE);
  await mountSetattrAsync(tree.fd, '', AT_EMPTY_PATH, attributes, attributes.length);
}

const moveMount = systemCallAsync('move_mount', 429, [INT, TEXT, INT, TEXT, UINT]);
/** Attaches a detached tree at the handle; on top of whatever has been mounted there meanwhile (move_mount(2)). */
export async function attachTree(tree: Handle, target: Handle): Promise<void> {
  await moveMount(tree.fd, '', target.fd, '', MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

const umount2 = foreign('umount2', [TEXT, INT]);
const umount2Async = foreignAsync('umount2', [TEXT, INT]);

/** umount2(2) of the topmost mount on the directory that the handle names. For undoing a bind of our own: it never hangs. */
export function unmountAt(target: Handle): void {
  umount2(target.path, 0);
}

/**
 * umount2(2) of the topmost mount at `name` in the directory, on a pool thread: it hangs where a request to a dead
 * server is outstanding. A final link is not followed.
 */
export async function unmountBelow(directory: Handle, name: string, mode: 'plain' | 'detach'): Promise<void> {
  await umount2Async(`${directory.path}/${name}`, UMOUNT_NOFOLLOW | (mode === 'detach' ? MNT_DETACH : 0));
}

const statmount = systemCall('statmount', 457, [BUFFER, BUFFER, SIZE, UINT]);
const STATMOUNT_MNT_BASIC = 0x2n;

/**
 * Whether our namespace has the mount with this number (statmount(2), Linux 6.8; STATX_MNT_ID_UNIQUE). No filesystem is
 * asked. Null: it cannot be told.
 */
export function mountExists(unique: string): boolean | null {
  // struct mnt_id_req: u32 size, u32 spare, u64 mnt_id, u64 param.
  const request = Buffer.alloc(24);
  request.writeUInt32LE(request.length, 0);
  request.writeBigUInt64LE(BigInt(unique), 8);
  request.writeBigUInt64LE(STATMOUNT_MNT_BASIC, 16);
  const into = Buffer.alloc(1024);
  try {
    statmount(request, into, into.length, 0);
    return true;
  } catch (error) {
    // Anything else (a kernel without it, a filter of system calls) says nothing of the mount.
    return errnoOf(error) === 'ENOENT' ? false : null;
  }
}

const fsopen = systemCall('fsopen', 430, [TEXT, UINT]);
const fsconfig = systemCall('fsconfig', 431, [INT, UINT, BUFFER, BUFFER, INT]);
const fsmount = systemCall('fsmount', 432, [INT, UINT, UINT]);
const FSOPEN_CLOEXEC = 0x1;
const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 0x1;

/**
 * A mount of a filesystem of the kernel's own that is attached nowhere (fsopen(2), since Linux 5.2): whatever the host has mounted
 * where, it is reached through the handle alone, and goes with it.
 */
export function kernelFilesystem(fsType: 'fusectl'): Handle {
  using context = new Handle(fsopen(fsType, FSOPEN_CLOEXEC));
  fsconfig(context.fd, FSCONFIG_CMD_CREATE, null, null, 0);
  return new Handle(fsmount(context.fd, FSMOUNT_CLOEXEC, 0));
}
