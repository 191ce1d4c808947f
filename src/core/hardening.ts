// Mount attributes that are set after the helper and checked in the table (mount_setattr(2), since 5.12).

/** Which attributes a mount must carry; every one defaults to true in the configuration. */
export interface Hardening {
  readonly nosuid: boolean;
  readonly nodev: boolean;
  readonly noexec: boolean;
  readonly nosymfollow: boolean;
}
