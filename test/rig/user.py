# A process that uses files as it is told: one request a line on standard input, {"do": NAME, ...}; one answer a line, {"is": RESULT} or
# {"errno": NAME}. What it opens it keeps, under the name that the request gives ("as"). It ends with its input.

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
PAGE = 4096
OPEN_TREE = 428  # the same number on every architecture (open_tree(2))
OPEN_TREE_CLONE = 1
MOVE_MOUNT = 429
MOVE_MOUNT_F_EMPTY_PATH = 4
MNT_DETACH = 2
SNATCH_SECONDS = 15
AT_FDCWD = -100
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x4000 | 0x40000

kept = {}
mail = socket.socketpair()


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def keep(name, descriptor):
    kept[name] = descriptor


def read(descriptor):
    return os.pread(descriptor, 65536, 0).decode()


def write(descriptor, text):
    data = text.encode()
    os.ftruncate(descriptor, 0)
    return os.pwrite(descriptor, data, 0)


def at(path, flags, work, directory=None):
    descriptor = os.open(path, flags, 0o600, dir_fd=directory)
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)


def mapped(descriptor):
    # Not by the module mmap, which keeps the file open.
    address = libc.mmap(None, PAGE, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor, ctypes.c_long(0))
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return address


def private(_):
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None))


def clone(path):
    return checked(libc.syscall(OPEN_TREE, AT_FDCWD, path.encode(), OPEN_TREE_CLONE))


def snatch(path, part, to, where):
    end = time.monotonic() + SNATCH_SECONDS
    while f" {path} " not in open("/proc/self/mountinfo").read():
        if time.monotonic() > end:
            raise OSError(errno.ETIME, "nothing was mounted")
    tree = clone(os.path.join(path, part))
    # In our table the superblock is never without a mount, if it is to be in this namespace.
    if where == "private":
        checked(libc.umount2(path.encode(), MNT_DETACH))
        private(None)
    checked(libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, to.encode(), MOVE_MOUNT_F_EMPTY_PATH))
    if where == "here":
        checked(libc.umount2(path.encode(), MNT_DETACH))
    os.close(tree)


def send(name):
    descriptor = kept.pop(name)
    socket.send_fds(mail[0], [b"x"], [descriptor])
    os.close(descriptor)


DO = {
    # Opens a file for reading and writing, and makes it where it is missing.
    "open": lambda r: keep(r["as"], os.open(r["path"], os.O_RDWR | os.O_CREAT, 0o600)),
    # The same, of a file that is there.
    "open-there": lambda r: keep(r["as"], os.open(r["path"], os.O_RDWR)),
    "read": lambda r: read(kept[r["as"]]),
    "write": lambda r: write(kept[r["as"]], r["text"]),
    "sync": lambda r: os.fsync(kept[r["as"]]),
    "close": lambda r: os.close(kept.pop(r["as"])),
    "read-path": lambda r: at(r["path"], os.O_RDONLY, read),
    "write-path": lambda r: at(r["path"], os.O_RDWR | os.O_CREAT, lambda fd: write(fd, r["text"])),
    "list": lambda r: sorted(os.listdir(r["path"])),
    # Goes to a private mount namespace of its own, with a copy of every mount there is.
    "private": private,
    # Sends an open file to a socket that nobody reads, and closes it; takes it out again.
    "send": lambda r: send(r["as"]),
    "receive": lambda r: keep(r["as"], socket.recv_fds(mail[1], 1, 1)[1][0]),
    # Maps the first page of a file and closes the file; nothing is read before "read-mapped".
    "map": lambda r: keep(r["as"], at(r["path"], os.O_RDONLY, mapped)),
    "read-mapped": lambda r: ctypes.string_at(kept[r["as"]], PAGE).decode(),
    # Clones the mount at a path; the clone is attached nowhere.
    "tree": lambda r: keep(r["as"], clone(r["path"])),
    # As soon as something is mounted at a path, takes a part of it elsewhere and the mount itself away.
    "snatch": lambda r: snatch(r["path"], r["part"], r["to"], r["where"]),
    "read-in": lambda r: at(r["name"], os.O_RDONLY, read, kept[r["as"]]),
    "write-in": lambda r: at(r["name"], os.O_RDWR | os.O_CREAT, lambda fd: write(fd, r["text"]), kept[r["as"]]),
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"is": DO[request["do"]](request)}
    except OSError as error:
        answer = {"errno": errno.errorcode.get(error.errno, str(error.errno))}
    print(json.dumps(answer), flush=True)
