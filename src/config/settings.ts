// Every setting there is: its form, its default, its unit, its rule, and what it means. The reference page
// docs/reference/configuration.md is made from this file, and the checks are made from this file, so they cannot differ.
// Only the form of one setting is said here; what several settings must agree on is in parse.ts.

import { z } from 'zod';
import { FairleadError } from '../core/errors.js';
import { parseDuration, spellDuration } from '../core/numbers.js';

/** What stands beside a setting's form: shown in the reference page and in the message when the form is not met. */
export interface SettingFacts {
  /** What it does, in a sentence or two. */
  readonly description: string;
  /** What a sound value looks like; completes "must be …". */
  readonly rule: string;
  /** Unit of the value, where it has one. */
  readonly unit?: string;
}

/** Directories and files are named by plain characters only, so that no mount helper, unit or table has to escape one. */
const PATH_FORM = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._+@:,=~-]+)+$/;
const PATH_RULE = 'an absolute path without "." or ".." parts, of letters, digits and . _ + @ : , = ~ - (and not "/")';
/** Bytes of a path that may be configured. */
const MAX_PATH_BYTES = 1024;
/** Bytes of run_dir: a unix socket's name holds 107 (unix(7)), and `/hypervisor.sock` takes 16. */
const MAX_RUN_DIR_BYTES = 91;
/** Bytes of a unix socket's name (unix(7)). */
const MAX_SOCKET_BYTES = 107;
/** Entries in a list. */
const MAX_LIST = 256;
/** The largest user or group number that is not the reserved (uid_t) -1. */
const MAX_ID = 4_294_967_294;

const path = z.string().max(MAX_PATH_BYTES).regex(PATH_FORM);
const id = z.int().min(0).max(MAX_ID);

function facts(description: string, rule: string, unit?: string): SettingFacts & Record<string, unknown> {
  return { description, rule, ...(unit === undefined ? {} : { unit }) };
}

/** A duration as text, in milliseconds afterwards; `min` and `max` are milliseconds. */
function duration(fallback: string, min: number, max: number, description: string) {
  const rule = `a duration from "${spellDuration(min)}" to "${spellDuration(max)}", in ms, s, m or h`;
  return z
    .string()
    .transform((text, context) => {
      try {
        return parseDuration(text, 'value', { min, max });
      } catch (error) {
        if (!(error instanceof FairleadError)) throw error;
        context.addIssue(error.message);
        return z.NEVER;
      }
    })
    .prefault(fallback)
    .meta(facts(description, rule, 'duration'));
}

const flag = (description: string, fallback: 'true' | 'false') =>
  z
    .boolean()
    .default(fallback === 'true')
    .meta(facts(description, 'true or false'));

/** What every backend has. */
function shared(base: string) {
  const harden = (name: string, what: string) =>
    flag(`Mounts get the attribute ${name}: ${what}. Checked in the mount table before a connect succeeds.`, 'true');
  return {
    mount_base: path
      .default(base)
      .meta(
        facts(
          'Directory below which volumes of this backend are mounted, each in a directory of its own (its leaf). Root-owned, mode 0711; used by nothing else.',
          PATH_RULE,
        ),
      ),
    mount_timeout: duration(
      '60s',
      1000,
      3_600_000,
      'How long a mount helper may take. After this everything in its unit is killed and the volume is looked at again.',
    ),
    probe_timeout: duration(
      '5s',
      100,
      60_000,
      "How long a volume's server may take to answer a probe before the verdict is hung.",
    ),
    nosuid: harden('nosuid', 'set-user-ID bits inside a volume mean nothing'),
    nodev: harden('nodev', 'device files inside a volume open nothing'),
    noexec: harden('noexec', 'programs inside a volume cannot be started on the host'),
    nosymfollow: harden('nosymfollow', 'links inside a volume are never followed (a planted link gives ELOOP)'),
    access_uid: id
      .default(0)
      .meta(
        facts(
          'User whose write and search permission on the volume is tested before a connect succeeds: the one that QEMU or the container runs as. 0: the broker itself.',
          'a whole number from 0 to 4294967294, in decimal',
          'user number',
        ),
      ),
    access_gid: id
      .default(0)
      .meta(
        facts('Group that goes with access_uid.', 'a whole number from 0 to 4294967294, in decimal', 'group number'),
      ),
    driver_cache: z
      .enum(['none', 'directsync', 'writethrough', 'writeback', 'unsafe'])
      .default('none')
      .meta(
        facts(
          "QEMU's cache mode in the disk description. Checked together with driver_io.",
          'one of "none", "directsync", "writethrough", "writeback", "unsafe"',
        ),
      ),
    driver_io: z
      .enum(['native', 'threads', 'io_uring'])
      .default('native')
      .meta(
        facts(
          "QEMU's way of input and output in the disk description. native needs a cache mode that bypasses the host's page cache: none or directsync.",
          'one of "native", "threads", "io_uring"',
        ),
      ),
  };
}

const quobyte = z.strictObject({
  ...shared('/var/lib/fairlead/mnt/quobyte'),
  mount_helper: path
    .default('/usr/sbin/mount.quobyte')
    .meta(facts('The mount helper. It must lie in one of trusted_helper_dirs.', PATH_RULE)),
  unmount_helper: z
    .union([z.literal(''), path])
    .default('')
    .meta(facts('The unmount helper. Empty: the kernel is asked directly (umount2).', `empty, or ${PATH_RULE}`)),
  client_config: z
    .union([z.literal(''), path])
    .default('')
    .meta(
      facts(
        "The Quobyte client's own configuration file, given to the helper with -c. Empty: none. It must be a regular file, no link, owned by root, writable by nobody else, in a directory for which the same holds; checked at start and before each mount.",
        `empty, or ${PATH_RULE}`,
      ),
    ),
  registries: z
    .array(z.string().max(300))
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        'Registries that volumes may be mounted from. A volume that names any other is refused. Empty: any registry.',
        'a list of "host" or "host:port"',
      ),
    ),
  root_size: z
    .enum(['warn', 'require'])
    .default('warn')
    .meta(
      facts(
        'What to make of a root directory whose size is not 0, which a healthy Quobyte volume shows. warn: say so in the reason; require: the verdict is stale.',
        '"warn" or "require"',
      ),
    ),
});

const local = z.strictObject({
  ...shared('/var/lib/fairlead/mnt/local'),
  roots: z
    .array(path)
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        'Directories whose subdirectories may be volumes: with "/srv/pool" here, local:///srv/pool/name is one. Empty: no local volume is allowed.',
        `a list of paths, each ${PATH_RULE}`,
      ),
    ),
});

const libvirt = z.strictObject({
  enabled: z
    .enum(['auto', 'yes', 'no'])
    .default('auto')
    .meta(
      facts(
        'Whether disks of libvirt guests are served. auto: as yes, but a host without libvirt is not reported as a fault, and where it has left no directories holds are lifted without its word. no: the hypervisor process is not started.',
        'one of "auto", "yes", "no"',
      ),
    ),
  socket: z
    .union([z.literal(''), path.max(MAX_SOCKET_BYTES)])
    .default('')
    .meta(
      facts(
        "libvirt's socket. Empty: /run/libvirt/libvirt-sock, or /run/libvirt/virtqemud-sock where only that exists.",
        `empty, or ${PATH_RULE}, at most ${MAX_SOCKET_BYTES} bytes long`,
      ),
    ),
  uri: z
    .enum(['qemu:///system', 'qemu:///session', 'test:///default'])
    .default('qemu:///system')
    .meta(facts('Which driver of libvirt is asked.', 'one of "qemu:///system", "qemu:///session", "test:///default"')),
  qemu_img: path
    .default('/usr/bin/qemu-img')
    .meta(facts('The program that makes and grows images. It must lie in one of trusted_helper_dirs.', PATH_RULE)),
  image_user: z
    .string()
    .regex(/^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}:[0-9]{1,10})$/)
    .default('libvirt-qemu')
    .meta(
      facts(
        'User as whom images are looked at, made and grown: the one that QEMU runs as, so that it can open them. A name from /etc/passwd, or numbers as "uid:gid". Never root. If the setting is absent and there is no user libvirt-qemu, it is qemu, and if there is none either, the agent\'s user.',
        'the name of a user in /etc/passwd, or "uid:gid" in numbers, and neither 0 nor 65534',
      ),
    ),
  image_timeout: duration('60s', 1000, 3_600_000, 'How long one run of qemu-img may take before it is killed.'),
  outside_images: z
    .array(path)
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        'Directories outside of a volume in which the backing file of a qcow2 may lie. Empty: a qcow2 may name only files of its own volume. A guest can write what its disk names as backing file, so this lets guests read what lies there.',
        `a list of paths, each ${PATH_RULE}`,
      ),
    ),
  lift_holds: z
    .enum(['evidence', 'operator'])
    .default('evidence')
    .meta(
      facts(
        'Who lifts the hold of a mount that was found without a record. evidence: Fairlead, once all domains, running and stopped, have been read and none has used the mount for a while. operator: only fairlead lift-hold, which refuses while the mount is seen to be used. Choose operator where others than libvirt guests use the same mounts without telling Fairlead.',
        '"evidence" or "operator"',
      ),
    ),
  orphans: z
    .enum(['report', 'release'])
    .default('report')
    .meta(
      facts(
        'What to do with an attachment whose domain does not exist, or names no file of the volume, any more. report: show it in ls and doctor. release: disconnect it after a while.',
        '"report" or "release"',
      ),
    ),
  survey_interval: duration(
    '60s',
    1000,
    3_600_000,
    "How often libvirt's domains are read, as evidence for holds and orphans.",
  ),
  evidence_age: duration(
    '10m',
    1000,
    86_400_000,
    'How long evidence must have been the same, in every survey, before a hold is lifted or an attachment counts as orphan: longer than anybody takes between mounting a volume and defining the domain that uses it.',
  ),
});

/** The whole file. */
export const SETTINGS = z.strictObject({
  state_dir: path
    .default('/var/lib/fairlead')
    .meta(
      facts(
        "Directory of what must survive. Root-owned; the ledger lies in its subdirectory ledger, which is the agent's alone (mode 0700).",
        PATH_RULE,
      ),
    ),
  run_dir: path
    .max(MAX_RUN_DIR_BYTES)
    .default('/run/fairlead')
    .meta(
      facts(
        'Directory of what lasts for a boot: agent.sock, broker.sock, hypervisor.sock, a lock of each process, and what the ledger is compared with at a start. ' +
          'Best on a tmpfs, and never backed up or put back with state_dir.',
        `${PATH_RULE}, at most ${MAX_RUN_DIR_BYTES} bytes long since a socket's name is short`,
      ),
    ),
  run_as: z
    .string()
    .regex(/^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}:[0-9]{1,10})$/)
    .default('fairlead')
    .meta(
      facts(
        'User of the agent: a name from /etc/passwd, or numbers as "uid:gid". Never root, never 65534. If the setting is absent and there is no user fairlead, the agent runs as 61786:61786.',
        'the name of a user in /etc/passwd, or "uid:gid" in numbers, and neither 0 nor 65534',
      ),
    ),
  allowed_uids: z
    .array(id)
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        "Users that may use the agent's socket. Root and the agent's own user always may.",
        'a list of whole numbers in decimal',
        'user numbers',
      ),
    ),
  allowed_gids: z
    .array(id)
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        "Groups whose processes may use the agent's socket. The effective group of the calling process counts, not its supplementary ones: sg GROUP fairlead ls.",
        'a list of whole numbers in decimal',
        'group numbers',
      ),
    ),
  trusted_helper_dirs: z
    .array(path)
    .min(1)
    .max(MAX_LIST)
    .default(['/usr/sbin', '/usr/bin', '/sbin', '/bin'])
    .meta(
      facts(
        'Directories that mount helpers and their interpreters may come from. Anything elsewhere is helper-untrusted.',
        `a list of at least one path, each ${PATH_RULE}`,
      ),
    ),
  trusted_base_owners: z
    .array(id)
    .max(MAX_LIST)
    .default([])
    .meta(
      facts(
        'Users, besides root, that may own a mount base or a directory above it. Meant for the change-over from a base that belongs to Nova. Weaker: such an owner can race with us there; that is detected and undone, not prevented.',
        'a list of whole numbers in decimal',
        'user numbers',
      ),
    ),
  helper_start: z
    .enum(['auto', 'scope'])
    .default('auto')
    .meta(
      facts(
        'How mount helpers are started where systemd runs. auto: as transient services. scope: as transient scopes, for helpers that do not work in a service. Without systemd: in sessions and cgroups of their own.',
        '"auto" or "scope"',
      ),
    ),
  on_vanish: z
    .enum(['report', 'remount'])
    .default('report')
    .meta(
      facts(
        'What to do when somebody else took away a mount that is in use. report: show it as vanished. remount: mount it again. After a reboot it is always mounted again.',
        '"report" or "remount"',
      ),
    ),
  health_interval: duration(
    '30s',
    1000,
    3_600_000,
    'How often each mount in use is looked at: its verdict is renewed, what died or vanished is brought back (on_vanish). At most ten mounts a second are looked at, so with more than about 150 of them it takes longer.',
  ),
  isolated: flag(
    'Allow a mount namespace other than that of process 1, or one of which that cannot be found out: then nobody outside may see the mounts. For tests, the demo, and containers that mount for themselves alone.',
    'false',
  ),
  log_level: z
    .enum(['debug', 'info', 'warn', 'error'])
    .default('info')
    .meta(
      facts(
        'The least severe events that are logged. No level shows credentials, volume names or exports.',
        'one of "debug", "info", "warn", "error"',
      ),
    ),
  libvirt: libvirt.prefault({}),
  backend: z.strictObject({ quobyte: quobyte.prefault({}), local: local.prefault({}) }).prefault({}),
});

/** The file after its forms have been checked and its defaults filled in. */
export type Settings = z.output<typeof SETTINGS>;
