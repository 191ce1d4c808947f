// What of a helper's output everybody may see. A line is shown if it is one of the known forms below from its first to its last
// character; every other line is withheld and counted. No list of secrets is complete, so nothing here looks for secrets: a known
// form has no part that the helper fills in freely. The one part that changes is the mountpoint, which is known here, and is hidden.

/** Stands where the mountpoint was. */
const HIDDEN = '[hidden]';
/** How {@link withheldNote} begins. */
const WITHHELD = /(?:^|; )\d+ lines? withheld; --show-helper-output /;
/** Lines that are shown; a helper says the same again and again. */
const MAX_SHOWN_LINES = 8;

/** Who speaks: a program's or a shell's name before the first colon. */
const SPEAKERS = [
  'mount',
  'umount',
  'mount.fuse',
  'mount.fuse3',
  'mount.quobyte',
  'umount.quobyte',
  'quobyte',
  'quobyte-client',
  'fuse',
  'fusermount',
  'fusermount3',
  'modprobe',
  ...['', '/bin/'].map((directory) => `${directory}sh`),
  'env',
];

/** What failed, before the reason for it. */
const ACTIONS = [
  HIDDEN,
  'bad mount point',
  `bad mount point ${HIDDEN}`,
  `cannot mount at ${HIDDEN}`,
  'cannot mount',
  'cannot open /dev/fuse',
  'failed to open /dev/fuse',
  'failed to exec fusermount',
  'failed to exec fusermount3',
  `failed to access mountpoint ${HIDDEN}`,
  `failed to unmount ${HIDDEN}`,
  'failed to mount',
  'fork failed',
  'cannot fork',
  'cannot start a server',
  'cannot connect to registry',
  'connection to registry failed',
  'authentication failed',
  'authorization failed',
  'certificate verification failed',
  'mount failed',
  'unmount failed',
  'no registry answers',
  'no socket',
  '/dev/fuse',
  'fusermount',
  'fusermount3',
  '1',
  'line 1',
];

/** The C library's texts of errno and of getaddrinfo (glibc, sysdeps/gnu/errlist.h and sysdeps/posix/gai_strerror-strs.h). */
const ERRNO_TEXTS = [
  'address already in use',
  'argument list too long',
  'bad address',
  'bad file descriptor',
  'broken pipe',
  'cannot allocate memory',
  'cannot assign requested address',
  'cannot send after transport endpoint shutdown',
  'connection refused',
  'connection reset by peer',
  'connection timed out',
  'device or resource busy',
  'disk quota exceeded',
  'exec format error',
  'file exists',
  'function not implemented',
  'host is down',
  'input/output error',
  'interrupted system call',
  'invalid argument',
  'is a directory',
  'name or service not known',
  'network is down',
  'network is unreachable',
  'no address associated with hostname',
  'no child processes',
  'no data available',
  'no route to host',
  'no space left on device',
  'no such device',
  'no such device or address',
  'no such file or directory',
  'no such process',
  'not a directory',
  'numerical result out of range',
  'operation not permitted',
  'operation not supported',
  'permission denied',
  'protocol error',
  'protocol not supported',
  'read-only file system',
  'remote i/o error',
  'required key not available',
  'resource temporarily unavailable',
  'software caused connection abort',
  'stale file handle',
  'temporary failure in name resolution',
  'non-recoverable failure in name resolution',
  'text file busy',
  'too many levels of symbolic links',
  'too many open files',
  'too many open files in system',
  'transport endpoint is already connected',
  'transport endpoint is not connected',
];

/** What mount(8), libfuse, shells and the client of Quobyte say besides. */
const REASONS = [
  'authentication failed',
  'command not found',
  'connection failed',
  "device not found, try 'modprobe fuse' first",
  'device not found',
  'could not resolve host',
  'host not found',
  'invalid credentials',
  'killed',
  `mount point ${HIDDEN} does not exist`,
  'mount point does not exist',
  'mountpoint is not empty',
  'must be superuser to use mount',
  'must be superuser to unmount',
  'must be superuser',
  'no mount point specified',
  'no such registry',
  'no such tenant',
  'no such volume',
  'not found',
  'not mounted',
  'only root can do that',
  'out of memory',
  'special device does not exist',
  'target is busy',
  'the registry went away',
  'timed out',
  'timeout',
  "unknown filesystem type 'fuse'",
  "unknown filesystem type 'fuse.quobyte'",
  'unknown volume',
  'volume does not exist',
  'volume not found',
  "if you are sure this is safe, use the 'nonempty' mount option",
];

function anyOf(forms: readonly string[]): string {
  return `(?:${forms.map((form) => form.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|')})`;
}

/** `mount.quobyte: cannot open /dev/fuse: Permission denied.` At most two speakers, and two actions, before one reason. */
const KNOWN = new RegExp(
  `^(?:${anyOf(SPEAKERS)}: ){0,2}(?:${anyOf(ACTIONS)}: ){0,2}${anyOf([...ERRNO_TEXTS, ...REASONS])}[.!]?$`,
  'i',
);

/** The part of a helper's output that everybody may see, as one line: the known lines, and how many others there were. */
export function shownOutput(text: string, mountpoint: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const hidden = lines.map((line) => line.replaceAll(mountpoint, HIDDEN));
  const known = [...new Set(hidden.filter((line) => KNOWN.test(line)))].slice(0, MAX_SHOWN_LINES);
  const withheld = lines.length - hidden.filter((line) => known.includes(line)).length;
  return [...known, ...(withheld === 0 ? [] : [withheldNote(withheld)])].join('; ');
}

/** Whether {@link shownOutput} left anything out. */
export function isCutShort(shown: string): boolean {
  return WITHHELD.test(shown);
}

function withheldNote(lines: number): string {
  const [count, them] = lines === 1 ? ['1 line', 'it'] : [`${lines} lines`, 'them'];
  return `${count} withheld; --show-helper-output as root shows ${them}`;
}
