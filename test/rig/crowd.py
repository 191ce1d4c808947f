# Many clients of a unix socket that mean no good, as whoever this is started as: crowd.py SOCKET WAY COUNT. It goes on until it is
# killed, and prints a line when it has begun in earnest. What it is told is thrown away.

import errno
import resource
import select
import socket
import sys

path, way, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

GET = b"GET /v1/mounts HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /v1/connect HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
# What each connection says when it has been made, and what it says over and over after that.
SAYS = {
    "idle": (b"", b""),
    "header-without-end": (b"GET /v1/mounts HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 15000, b""),
    "body-without-end": (POST % 65000 + b" " * 64000, b""),
    "pipeline": (GET * 2000, GET * 2000),
    "pipeline-unread": (GET * 2000, GET * 2000),
    "unread": (GET, b""),
    "noise": (b"\xff" * 65536, b"\xff" * 65536),
}


def dial():
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    try:
        made.connect(path)
    except OSError as error:
        made.close()
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.ECONNREFUSED, errno.EMFILE):
            return None
        raise
    return made


def begun():
    print("begun", flush=True)


# Connects and hangs up, as fast as it goes.
def knock():
    begun()
    while True:
        made = dial()
        if made is not None:
            made.close()


# Keeps that many connections, and makes each anew that is taken away.
def crowd(first, again, reads):
    poll = select.epoll()
    here = {}
    left = {}
    rounds = 0
    known = False
    while True:
        tries = 0
        refused = False
        while len(here) < count and tries < 256:
            tries += 1
            made = dial()
            if made is None:
                refused = True
                break
            here[made.fileno()] = made
            left[made.fileno()] = first
            poll.register(made.fileno(), select.EPOLLRDHUP | select.EPOLLOUT | (select.EPOLLIN if reads else 0))
        for number, events in poll.poll(0.02):
            made = here[number]
            gone = False
            try:
                if events & select.EPOLLIN:
                    gone = made.recv(1 << 20) == b""
                if left[number] and events & select.EPOLLOUT:
                    left[number] = left[number][made.send(left[number]) :] or again
                    if not left[number]:
                        poll.modify(number, select.EPOLLRDHUP | (select.EPOLLIN if reads else 0))
                elif not left[number]:
                    poll.modify(number, select.EPOLLRDHUP | (select.EPOLLIN if reads else 0))
            except BlockingIOError:
                pass
            except OSError:
                gone = True
            # Half closed is not gone: whoever means no good stays until he is thrown out.
            if gone or events & (select.EPOLLHUP | select.EPOLLERR):
                poll.unregister(number)
                here.pop(number).close()
                left.pop(number)
        rounds += 1
        # In earnest: as many as it wants to be, or as many as it can be for now.
        if not known and (len(here) == count or refused or rounds == 50):
            known = True
            begun()


if way == "knock":
    knock()
else:
    crowd(*SAYS[way], way != "unread" and not way.endswith("-unread"))
