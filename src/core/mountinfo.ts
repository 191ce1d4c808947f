// The kernel's mount table, as text and as values (proc_pid_mountinfo(5)).
//
// How to read it: as latin1 (`readFileSync('/proc/self/mountinfo', 'latin1')`), one character a byte, which is lossless
// and the fastest decoding there is. The parser undoes the kernel's octal escapes and then decodes each field as UTF-8;
// a byte that is not UTF-8 becomes the lone surrogate U+DC00 + byte. Two different names therefore never become equal,
// and such a name never equals one that was parsed from a request, where lone surrogates are refused.

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

/**
 * The entries of a mount table that was read as latin1 (see above), in the table's order. A malformed line is left out
 * and hides no other: the kernel writes none, and a table that is cut short still tells what it tells.
 */
export function parseMountTable(text: string): readonly MountEntry[] {
  return mountTableParser()(text);
}

/**
 * {@link parseMountTable} for somebody who reads one table again and again: a line that was in the last table gives the
 * same entry and costs a third. With thousands of mounts and one change at a time that is nearly every line.
 */
export function mountTableParser(): (text: string) => readonly MountEntry[] {
  let last: ReadonlyMap<string, MountEntry> = new Map();
  return (text) => {
    const now = new Map<string, MountEntry>();
    const entries: MountEntry[] = [];
    for (let start = 0, end = 0; start < text.length; start = end + 1) {
      const newline = text.indexOf('\n', start);
      end = newline < 0 ? text.length : newline;
      const line = text.slice(start, end);
      const entry = last.get(line) ?? parseLine(copied(line));
      if (entry === null) continue;
      now.set(line, entry);
      entries.push(entry);
    }
    last = now;
    return entries;
  };
}

/**
 * The same text, sharing no memory with the table: V8 cuts strings by reference, and an entry that lives through many
 * readings would keep the whole table alive from which it was once cut.
 */
function copied(line: string): string {
  return ` ${line}`.slice(1);
}

const ID = /^[0-9]{1,15}$/;
const DEVICE = /^[0-9]{1,10}:[0-9]{1,10}$/;

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
function parseLine(line: string): MountEntry | null {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  if (separator < 0 || fields.length !== separator + 4) return null;
  const [mountId, parentId, dev, root, mountPoint, options] = fields as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const [fsType, source, superOptions] = fields.slice(separator + 1) as [string, string, string];
  if (!ID.test(mountId) || !ID.test(parentId) || !DEVICE.test(dev)) return null;
  if (!mountPoint.startsWith('/') || root === '' || options === '' || fsType === '') return null;
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    dev,
    root: decode(root),
    mountPoint: decode(mountPoint),
    options: options.split(','),
    tags: fields.slice(6, separator),
    fsType: decode(fsType),
    source: decode(source),
    superOptions: superOptions.split(',').map(decode),
  };
}

// The kernel escapes blank, tab, newline and backslash, and # in type and source (seq_path(), mangle() in fs/proc_namespace.c).
const OCTAL = /\\([0-3][0-7]{2})/g;
const BEYOND_ASCII = /[^\x00-\x7f]/;

function decode(field: string): string {
  const bytes = unescapeOctal(field);
  return BEYOND_ASCII.test(bytes) ? fromBytes(bytes) : bytes;
}

function unescapeOctal(field: string): string {
  if (!field.includes('\\')) return field;
  return field.replace(OCTAL, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** One well-formed UTF-8 sequence, one run of ASCII, or one byte that is neither (Unicode 17, table 3-7). */
const SEQUENCE =
  /[\x00-\x7f]+|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[^]/g;

function fromBytes(bytes: string): string {
  return bytes.replace(SEQUENCE, (sequence) => {
    if (sequence.length === 1 && sequence > '\x7f') return String.fromCharCode(0xdc00 + sequence.charCodeAt(0));
    return decoder.decode(Uint8Array.from(sequence, (byte) => byte.charCodeAt(0)));
  });
}
