// umount.quobyte for machines without Perl.
import { writeSync } from 'node:fs';
import { umount2 } from '../fuse/libc.js';

const UMOUNT_NOFOLLOW = 8;

const [where, ...more] = process.argv.slice(2);
if (where === undefined || more.length > 0) {
  writeSync(2, 'usage: umount.quobyte DIRECTORY\n');
  process.exit(2);
}
const failed = umount2(where, UMOUNT_NOFOLLOW);
if (failed < 0) {
  writeSync(2, `umount.quobyte: ${where}: errno ${-failed}\n`);
  process.exit(1);
}
