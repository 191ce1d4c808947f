// The kernel's mount table, as text and as values (proc_pid_mountinfo(5)).

/** One line of `/proc/PID/mountinfo`, decoded. */
export interface MountEntry {
  /** Valid only in this namespace, this boot and this process: never store or send it. */
  readonly mountId: number;
  readonly parentId: number;
  /** `major:minor` of the superblock. */
  readonly dev: string;
  /** The directory of the filesystem that forms the root of this mount. */
  readonly root: string;
  readonly mountPoint: string;
  /** Options of this mount: `rw`, `nosuid`, `nosymfollow` … */
  readonly options: readonly string[];
  /** `shared:N`, `master:N` … */
  readonly tags: readonly string[];
  readonly fsType: string;
  readonly source: string;
  /** Options of the superblock. */
  readonly superOptions: readonly string[];
}
