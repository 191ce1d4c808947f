"""A unix socket whose answers are written down beforehand, one for each connection: what an agent does on its bad days."""

import contextlib
import json
import os
import shutil
import socket
import struct
import tempfile
import threading


class Scripted:
    """Plays `acts` in turn, the last one for every further connection. Use as a context manager."""

    def __init__(self, *acts):
        self._acts = acts
        self._dir = tempfile.mkdtemp(prefix="fairlead-nova-")
        self.path = os.path.join(self._dir, "agent.sock")
        #: The requests that came: (route, body).
        self.requests = []
        self._stopping = threading.Event()
        self._threads = []

    def __enter__(self):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(128)
        self._start(self._serve)
        return self

    def __exit__(self, *_):
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        shutil.rmtree(self._dir)

    def _start(self, work, *args):
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self):
        count = 0
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            act = self._acts[min(count, len(self._acts) - 1)]
            count += 1
            self._start(self._play, act, connection)

    def _play(self, act, connection):
        with connection, contextlib.suppress(OSError):
            act(self, connection)

    def read(self, connection):
        """Reads and keeps one whole request."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append((head.split(b" ")[1].decode(), json.loads(body)))

    def wait(self, seconds):
        """Waits, but not beyond the end of the test."""
        self._stopping.wait(seconds)


def answer(status, body, cut=None, slow=None):
    """Answers with this; `cut`: only the first so many bytes; `slow`: seconds between two bytes."""
    content = json.dumps(body).encode()
    text = (
        f"HTTP/1.1 {status} Whatever\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    ).encode() + content

    def act(server, connection):
        server.read(connection)
        for byte in [text[:cut]] if slow is None else [text[i : i + 1] for i in range(len(text))]:
            connection.sendall(byte)
            if slow is not None:
                server.wait(slow)

    return act


def refusal(status, code, retryable, **more):
    """Answers with an error of Fairlead's form."""
    return answer(status, {"error": {"code": code, "message": "Look at it.", "retryable": retryable, **more}})


def raw(content):
    """Answers with these bytes."""

    def act(server, connection):
        server.read(connection)
        connection.sendall(content)

    return act


def reset(server, connection):
    """Hangs up with a reset, the request read and unanswered."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(server, connection):
    """Reads the request and says nothing."""
    server.read(connection)
    server.wait(60)


def deaf(server, connection):
    """Neither reads nor answers."""
    server.wait(60)
