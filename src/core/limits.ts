// Limits, deadlines and retries that are not settings: each a constant with its unit, all in one place.

/** Bytes of an export, as text. The kernel's mount source and our frames are both far larger. */
export const MAX_EXPORT_BYTES = 4096;
/** Bytes of one path component (NAME_MAX). */
export const MAX_NAME_BYTES = 255;
/** Bytes of a path that comes from outside (PATH_MAX less its NUL). */
export const MAX_PATH_BYTES = 4095;
/** Registries in one export. */
export const MAX_REGISTRIES = 32;
/** Bytes of a consumer, kind included. */
export const MAX_CONSUMER_BYTES = 255;
/** Bytes of one frame between two processes of ours, header excluded, in either direction. */
export const MAX_FRAME_BYTES = 1_048_576;
/** Requests in flight on one connection to the broker or the hypervisor process. */
export const MAX_LINK_REQUESTS = 1024;
/** Milliseconds by which such a process's answer may come after a request's budget before the agent gives it up. */
export const LINK_REPLY_GRACE_MS = 250;
/** Milliseconds a request waits for such a connection before it is refused, at most (within its budget). */
export const LINK_PATIENCE_MS = 2000;
/** Milliseconds that connecting and the `hello` may take. */
export const LINK_HELLO_MS = 2000;
/** First and last pause between attempts to connect, milliseconds. */
export const LINK_PAUSE_FIRST_MS = 20;
/** See {@link LINK_PAUSE_FIRST_MS}. */
export const LINK_PAUSE_LAST_MS = 1000;
/** Connections open at the broker, and as many at the hypervisor process. */
export const MAX_LINK_CONNECTIONS = 8;
/** Bytes of replies that may wait for an agent that does not read; then the connection ends. */
export const MAX_UNREAD_BYTES = 67_108_864;
/**
 * Mount helpers at work at the same time, and as many unmount helpers; more are refused as `resource-exhausted`, never
 * queued behind hung ones.
 */
export const MAX_HELPERS = 128;
/** Leaf directories that were made and not mounted since; more are refused as `resource-exhausted`. */
export const MAX_UNUSED_LEAVES = 1024;
/** Milliseconds after which a leaf directory that was made and not mounted since is removed. */
export const UNUSED_LEAF_MS = 30_000;
/** Bytes of a helper's output that are kept. */
export const MAX_HELPER_OUTPUT_BYTES = 65_536;
/** Leaves of which the latest helper's output is kept at the broker, for root. */
export const MAX_KEPT_HELPER_OUTPUTS = 64;
/** Milliseconds a killed unit gets to become empty before its volume counts as stuck. */
export const KILL_GRACE_MS = 700;
/** Milliseconds that a mount is waited for after its helper ended with success, at most (within the mount timeout). */
export const APPEAR_TIMEOUT_MS = 10_000;
/** Requests that may wait for one volume's lock. */
export const MAX_LOCK_QUEUE = 1024;
/** Milliseconds for which a probe of a volume may serve the requests that waited for it. */
export const SHARED_LOOK_MS = 1000;
/** Milliseconds by which a reply may be later than its deadline. */
export const REPLY_GRACE_MS = 1000;
/** Default deadline of connect and disconnect, milliseconds. */
export const DEFAULT_DEADLINE_MS = 120_000;
/** Default deadline of everything else, milliseconds. */
export const DEFAULT_SHORT_DEADLINE_MS = 10_000;
/** The longest deadline a client may ask for, milliseconds. */
export const MAX_DEADLINE_MS = 3_600_000;
/** First and last pause between attempts to unmount a releasing mount or to settle a stuck one, milliseconds. */
export const RETRY_FIRST_MS = 500;
/** See {@link RETRY_FIRST_MS}. */
export const RETRY_LAST_MS = 30_000;
/** Leaves whose last change in the mount table is remembered for whoever watches; of more it is said that all may have. */
export const MAX_WATCHED_CHANGES = 1024;
/** Questions for changes of the mount table that may wait at the broker. */
export const MAX_WATCHERS = 8;
/** Milliseconds between two questions of the kernel whether the mount table has changed, while somebody waits for it. */
export const TABLE_POLL_MS = 200;
/** Milliseconds between two questions of the agent for changes, at least. */
export const WATCH_GAP_MS = 300;
/** Milliseconds between two looks at a leaf whose last client is to end by itself. */
export const WATCH_MS = 2000;
/** Jobs that may hang in one probe child at the same time (its thread pool has 64 threads). */
export const MAX_JOBS_PER_PROBE_CHILD = 48;
/** Probe children that may be left behind with stuck threads before new probes are refused as `resource-exhausted`. */
export const MAX_LEAKED_PROBE_CHILDREN = 32;
/** Milliseconds a job may wait for a free thread before one more probe child is started. */
export const PROBE_QUEUE_PATIENCE_MS = 20;
/** Milliseconds for a probe child itself to answer, when a job of it is late; one that does not is replaced. */
export const PROBE_PING_MS = 1000;
/** Milliseconds that an unmount waits for the client to end by itself, before its answer says that it is ending. */
export const CLIENT_END_MS = 2000;
/** Milliseconds that a new mount waits for an earlier client of its volume which is ending, at most; then it is made beside it. */
export const ENDING_PATIENCE_MS = 20_000;
/** Clients of one leaf, the one that serves it now and those of earlier mounts; more are refused as `resource-exhausted`. */
export const MAX_CLIENTS_PER_LEAF = 16;
/** First and last pause between two looks at the mount table while something is waited for, milliseconds. */
export const LOOK_FIRST_MS = 2;
/** See {@link LOOK_FIRST_MS}. */
export const LOOK_LAST_MS = 50;
/** Times an unmount that was answered EBUSY is tried again while a probe of our own is on the mount. */
export const BUSY_RETRIES = 20;
/** Mounts of one leaf that are looked at: the topmost ones of a stack. What lies deeper is not known, and never called gone. */
export const MAX_OBSERVED_MOUNTS = 256;
/** Letters of a filesystem's type that are reported; a FUSE subtype may fill a page. */
export const MAX_TYPE_LETTERS = 64;
/** Findings of one kind in one reply: occupied leaves, of which a host may have any number. */
export const MAX_FINDINGS_OF_A_KIND = 50;
/** Holders reported of one mount. */
export const MAX_HOLDERS = 256;
/** Bytes of items in one part of an inventory, as JSON. */
export const INVENTORY_PART_BYTES = 262_144;
/** Bytes of a block of a disk: the size of every disk is a multiple (the smallest sector that QEMU knows). */
export const DISK_BLOCK_BYTES = 512;
/** Bytes of the largest disk: 1024 TiB, far from where numbers lose their last digit. */
export const MAX_DISK_BYTES = 1_125_899_906_842_624;
/** Bytes of the head of an HTTP request. */
export const MAX_HTTP_HEADER_BYTES = 16_384;
/** Bytes of an HTTP request body. */
export const MAX_BODY_BYTES = 65_536;
/**
 * Connections open at the HTTP listener: of root; of all other allowed users together; of each of them; and how many are kept for users who
 * have only few. Together they are less than 4096 descriptors, the smallest hard limit that is common.
 */
export const HTTP_CONNECTIONS = { root: 1536, others: 2048, each: 512, kept: 512, few: 8 } as const;
/** Requests in progress at the HTTP listener, in the same way; together they are the {@link MAX_LINK_REQUESTS}. */
export const HTTP_REQUESTS = { root: 512, others: 512, each: 256, kept: 128, few: 4 } as const;
/** Connections that are about to be told that they are refused; of more the oldest is closed unheard. */
export const MAX_HTTP_REFUSALS = 64;
/** Bytes of answers that one user may leave unread before his next requests wait. */
export const MAX_HTTP_UNREAD_BYTES = 33_554_432;
/** Milliseconds after which a client that reads nothing of its answer loses its connection. */
export const HTTP_UNREAD_MS = 10_000;
/** Milliseconds an idle connection is kept for its next request. */
export const HTTP_IDLE_MS = 60_000;
/** Connections of one second without a request, of users who may not ask, before the kernel keeps those users from the socket. */
export const MAX_REFUSED_A_SECOND = 256;
/** The same of one user who may ask, so that only he is kept away. Far fewer than fill the socket's queue. */
export const MAX_VAIN_A_SECOND = 1024;
/** First and longest time for which a user is kept from the socket, milliseconds. */
export const SHUT_FIRST_MS = 2000;
/** See {@link SHUT_FIRST_MS}. */
export const SHUT_LAST_MS = 30_000;
/** Users who are kept from the socket at the same time, beside those who may not ask. */
export const MAX_SHUT_USERS = 32;
/** Milliseconds for a client to send a whole HTTP request. */
export const HTTP_REQUEST_TIMEOUT_MS = 10_000;
/** Milliseconds within which SIGTERM ends a process. */
export const SHUTDOWN_MS = 8000;
/** Bytes of log lines that may wait for a reader or a disk; of more the newest are lost. */
export const MAX_LOG_BUFFER_BYTES = 1_048_576;
/** Milliseconds that the end of a process waits for its last log lines to be written; not part of {@link SHUTDOWN_MS}. */
export const LOG_FLUSH_MS = 250;
/** Commits that may wait for the ledger; more are refused as `resource-exhausted`. */
export const MAX_LEDGER_QUEUE = 4096;
/** Commits that share one transaction, and so one flush to disk. */
export const MAX_LEDGER_GROUP = 512;
/** Bytes kept allocated on the state disk, so that ends can still be written when it is full. */
export const LEDGER_RESERVE_BYTES = 1_048_576;
/** Pages (4096 bytes) of write-ahead log after which it is folded into the ledger; half the reserve. */
export const LEDGER_CHECKPOINT_PAGES = 128;
/** Milliseconds for the ledger to be opened and checked, and for it to be read. */
export const LEDGER_OPEN_MS = 60_000;
/** Milliseconds after which a state disk that has not answered counts as one that stands still. */
export const LEDGER_STALL_MS = 5000;
/** Milliseconds between two looks whether the ledger still lies at its path. */
export const LEDGER_LOOK_MS = 1000;
/** Milliseconds for the ledger to finish what waits and close; part of {@link SHUTDOWN_MS}. */
export const LEDGER_CLOSE_MS = 5000;
/** Set-aside records that are reported; older ones stay in the ledger. */
export const MAX_SET_ASIDE_REPORTED = 1000;
/** Bytes of output that are kept of a system tool (systemctl and its like), each of both streams. */
export const MAX_TOOL_OUTPUT_BYTES = 65_536;
/** System tools at work at the same time, each a process; further ones wait within their time. */
export const MAX_TOOLS = 16;
/** Milliseconds for a system tool that only asks or tells. */
export const TOOL_BUDGET_MS = 5000;
/** First and last pause between two looks at a unit that is to become empty, milliseconds. */
export const EMPTY_POLL_FIRST_MS = 1;
/** See {@link EMPTY_POLL_FIRST_MS}. */
export const EMPTY_POLL_LAST_MS = 50;
/** Milliseconds to look for who keeps a mount busy; what was found by then is reported as incomplete. */
export const HOLDERS_BUDGET_MS = 3000;
/**
 * Searches for holders at the same time, each a process; further ones wait, then are refused as `resource-exhausted`.
 */
export const MAX_HOLDER_SEARCHES = 4;
/** Milliseconds for which such a search waits for one look that another filesystem's server may hold up. */
export const HOLDER_LOOK_MS = 250;
/** Looks that may hang in one search; after that it makes no more of that kind, and is incomplete. */
export const MAX_HUNG_LOOKS = 6;
/** Bytes of one message of libvirt, larger than any that is asked for: a list of 16,384 domains, a description of 4 MiB. */
export const MAX_LIBVIRT_MESSAGE_BYTES = 8_388_608;
/** Calls in flight on one connection to libvirt, which by its default reads no more than 5 (max_client_requests). */
export const MAX_LIBVIRT_CALLS = 4;
/**
 * Connections to libvirt that only read. With their calls they take fewer than the 5 threads that libvirtd begins with (min_workers): a
 * burst that takes all of them can keep it from starting more.
 */
export const MAX_LIBVIRT_READ_CONNECTIONS = 1;
/** Connections to libvirt that change domains: with their calls they leave most of libvirt's 20 threads (max_workers) to others. */
export const MAX_LIBVIRT_ACT_CONNECTIONS = 2;
/** Milliseconds between two calls that change domains, so that libvirtd has a thread for the first before it gets the second. */
export const LIBVIRT_ACT_GAP_MS = 10;
/** Milliseconds that connecting to libvirt and being let in may take. */
export const LIBVIRT_HELLO_MS = 5000;
/** Domains that are read at the same time. */
export const MAX_DOMAIN_READS = 4;
/** Bytes of one domain's description (libvirt sends no longer text). */
export const MAX_DOMAIN_XML_BYTES = 4_194_304;
/** Levels of elements in a domain's description; a chain of backing stores takes one for each. */
export const MAX_DOMAIN_XML_DEPTH = 512;
/** Disks of one domain, and files that a domain may name beside them. */
export const MAX_DOMAIN_FILES = 4096;
/** Snapshots of one domain that are read, and as many checkpoints. */
export const MAX_SNAPSHOTS_READ = 256;
/** Bytes of one domain in a survey, as JSON; what is beyond that is left out, and the survey incomplete. */
export const MAX_SHOWN_DOMAIN_BYTES = 524_288;
/** Processes that look at images, working or hanging; more are refused as `resource-exhausted`. */
export const MAX_IMAGE_CHILDREN = 32;
/** Bytes of address space that qemu-img may have. */
export const QEMU_IMG_MEMORY_BYTES = 1_073_741_824;
/** Images in a chain of backing files, the disk itself included. */
export const MAX_BACKING_CHAIN = 8;
/** Milliseconds kept back of a request's budget to look at the domain after libvirt was asked to change it. */
export const DOMAIN_LOOK_MS = 1000;
/** First and last pause between two looks at a domain whose guest is to let go of a disk, milliseconds. */
export const RELEASE_POLL_FIRST_MS = 50;
/** See {@link RELEASE_POLL_FIRST_MS}. */
export const RELEASE_POLL_LAST_MS = 500;
