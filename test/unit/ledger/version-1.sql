-- A ledger of version 1 with one record of each kind, as text. Later versions must go on reading it: never change it.
CREATE TABLE ledger (format TEXT NOT NULL, sequence INTEGER NOT NULL) STRICT;
INSERT INTO ledger VALUES ('fairlead-ledger', 41);
CREATE TABLE mounts (
  leaf TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, export TEXT NOT NULL, url TEXT NOT NULL,
  state TEXT NOT NULL, boot_id TEXT NOT NULL
) STRICT;
INSERT INTO mounts VALUES ('c94ed34ada0acf45c1213beb1fc52ce6', 'quobyte', '192.168.1.1/volume-00001',
  'quobyte://192.168.1.1/volume-00001', 'mounted', '2f0f2c5e-3b1d-4f7e-9a55-1d4b3c0e8a77');
CREATE TABLE attachments (
  id TEXT NOT NULL UNIQUE, consumer TEXT NOT NULL, leaf TEXT NOT NULL, disk TEXT, target TEXT,
  read_only INTEGER NOT NULL, since TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX attachment_key ON attachments (consumer, leaf, ifnull(disk, ''), ifnull(target, ''));
INSERT INTO attachments VALUES ('00000000000000000000000000000001', 'nova:6f1c1f2e-8a49-4a2c-9a38-0c2d7f6f7b11',
  'c94ed34ada0acf45c1213beb1fc52ce6', 'volume-00000001', '/var/lib/kubelet/pods/1/mount point', 1,
  '2026-11-05T10:15:30.123Z');
CREATE TABLE holds (leaf TEXT NOT NULL UNIQUE, reason TEXT NOT NULL, since TEXT NOT NULL) STRICT;
INSERT INTO holds VALUES ('c94ed34ada0acf45c1213beb1fc52ce6', 'inherited', '2026-11-05T10:15:30.123Z');
CREATE TABLE operations (
  id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, backend TEXT NOT NULL, export TEXT NOT NULL, url TEXT NOT NULL,
  leaf TEXT NOT NULL, steps TEXT NOT NULL, cursor INTEGER NOT NULL, mount_begun INTEGER NOT NULL,
  since TEXT NOT NULL
) STRICT;
INSERT INTO operations VALUES ('c94ed34ada0acf45c1213beb1fc52ce6', 'connect', 'quobyte', '192.168.1.1/volume-00001',
  'quobyte://192.168.1.1/volume-00001', 'c94ed34ada0acf45c1213beb1fc52ce6',
  '[{"kind":"make-leaf"},{"kind":"mount"},{"kind":"harden"},{"kind":"unmount"},{"kind":"detach-dead"},{"kind":"remove-leaf"}]',
  2, 1, '2026-11-05T10:15:30.123Z');
CREATE TABLE set_aside (
  origin TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL, since TEXT NOT NULL
) STRICT;
INSERT INTO set_aside VALUES ('mounts', 'row 7', 'export must be text.', '{}', '2026-11-05T10:15:30.123Z');
PRAGMA user_version = 1;
