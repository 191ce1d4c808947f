"""Asks the Fairlead agent: JSON over HTTP/1.1 on its unix socket, with Python's own library and nothing else.

Comes in: a path, a body and the seconds within which an answer is wanted. Goes out: the answer, or an AgentError. Every
question of Nova's is idempotent at the agent, so whatever was not answered is asked again until the time is up.

Each attempt is a connection of its own and nothing is kept between calls, so threads, green threads and forks need no care.
Modules are called by their names (socket.socket, time.sleep), so that eventlet's replacements are the ones that act.
"""

import contextlib
import errno
import http.client
import io
import json
import random
import re
import socket
import time

#: First and longest pause between two attempts, seconds; each is varied by half, so that many callers spread.
PAUSE_FIRST = 0.1
PAUSE_LAST = 5.0
#: Seconds for which what the storage is at fault for is tried again, at most. Longer waiting rarely helps and holds up Nova.
STORAGE_PATIENCE = 30.0
#: Seconds that an answer gets for its way back, so that the agent's own word comes before ours.
RETURN_TIME = 2.0
#: Questions that may take long, and bring the time they have.
_TAKE_DEADLINE = frozenset(("/v1/nova/connect", "/v1/nova/disconnect"))
#: Bytes of an answer.
MAX_ANSWER = 1024 * 1024

#: Refusals that speak of the volume's storage and not of Fairlead.
_STORAGE = frozenset(("hung", "unhealthy", "helper-failed"))
#: What connecting and talking to an agent that is being restarted, or has too much to do, may fail with.
_AWAY = frozenset(
    (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.EAGAIN, errno.ENOTCONN)
)


class AgentError(Exception):
    """The agent refused, or could not be asked. The codes are the ones of Fairlead's reference, docs/reference/errors.md."""

    def __init__(self, code, message, field=None, leaf=None, retryable=False, helper_output=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.leaf = leaf
        self.retryable = retryable
        self.helper_output = helper_output


class Agent:
    """The agent behind one socket."""

    def __init__(self, path):
        self._path = path

    def ask(self, route, body, timeout):
        """The answer to a POST, a dict, within about `timeout` seconds; else AgentError.

        A retryable refusal, a missing agent and an answer that broke off are tried again with growing pauses while there
        is time; every other refusal is raised at once.
        """
        begun = time.monotonic()
        end = begun + timeout
        pause = PAUSE_FIRST
        known = None
        while True:
            try:
                return self._attempt(route, body, end)
            except AgentError as error:
                # The last attempt has little time; what an earlier one was told says more than that it ran out.
                if error.code != "deadline-exceeded" or known is None or known.code == "unavailable":
                    known = error
                if not error.retryable:
                    raise known from None
                wait = pause * random.uniform(0.5, 1.5)
                last = min(end, begun + STORAGE_PATIENCE) if error.code in _STORAGE else end
                if time.monotonic() + wait >= last:
                    raise known from None
            time.sleep(wait)
            pause = min(pause * 2, PAUSE_LAST)

    def _attempt(self, route, body, end):
        try:
            with contextlib.closing(self._exchange(_request(route, body, _left(end)), end)) as parts:
                status, answer = _read_answer(parts)
        except socket.timeout:
            raise AgentError(
                "deadline-exceeded",
                "Fairlead did not answer in time. See whether its agent is well: fairlead doctor.",
            ) from None
        except OSError as error:
            raise self._unreachable(error) from error
        if status == 200:
            return answer
        raise _refusal(answer)

    def _exchange(self, request, end):
        """Sends the request and returns the parts of the answer as they come."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_left(end))
            connection.connect(self._path)
            try:
                connection.sendall(request)
            except BrokenPipeError:
                # An agent with too many connections answers before it is asked, and hangs up.
                pass
            while True:
                connection.settimeout(_left(end))
                part = connection.recv(65536)
                yield part
                if not part:
                    return

    def _unreachable(self, error):
        if error.errno in _AWAY:
            return _away("Fairlead's agent cannot be reached. Start it (fairlead up, or its unit), then try again")
        if error.errno in (errno.EACCES, errno.EPERM):
            return AgentError(
                "permission-denied",
                "nova-compute may not open the socket of Fairlead's agent. Give its user the way to run_dir.",
            )
        return AgentError(
            "config-invalid",
            f"Fairlead's agent cannot be asked: {error}. If its path is wrong, set [fairlead] socket in nova.conf.",
        )


def _request(route, body, left):
    if route in _TAKE_DEADLINE:
        body = {**body, "timeoutMs": max(1, int(max(left - RETURN_TIME, left / 2) * 1000))}
    content = json.dumps(body).encode("ascii")
    head = (
        f"POST {route} HTTP/1.1\r\nHost: fairlead\r\nConnection: close\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode("ascii") + content


def _left(end):
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("no time is left")
    return left


def _away(message):
    return AgentError("unavailable", message, retryable=True)


def _broken():
    return _away("Fairlead's agent broke off its answer; it is probably being restarted")


def _foreign():
    return AgentError(
        "internal", "What answers at the socket is not Fairlead's agent. See [fairlead] socket in nova.conf."
    )


def _read_answer(parts):
    """Status and JSON object of one HTTP answer, as soon as it is complete."""
    received = b""
    wanted = None
    for part in parts:
        received += part
        if len(received) > MAX_ANSWER or not b"HTTP/1.1 ".startswith(received[:9]):
            raise _foreign()
        if wanted is None and b"\r\n\r\n" in received:
            status, length, begin = _read_head(received)
            wanted = begin + length
            if wanted > MAX_ANSWER:
                raise _foreign()
        if wanted is not None and len(received) >= wanted:
            return status, _read_object(received[begin:wanted])
    raise _broken()


def _read_head(received):
    head, _, _ = received.partition(b"\r\n\r\n")
    first, _, headers = (head + b"\r\n\r\n").partition(b"\r\n")
    status = re.fullmatch(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: .*)?", first)
    try:
        length = http.client.parse_headers(io.BytesIO(headers)).get("Content-Length", "")
    except http.client.HTTPException:
        raise _foreign() from None
    if status is None or re.fullmatch(r"[0-9]{1,9}", length) is None:
        raise _foreign()
    return int(status.group(1)), int(length), len(head) + 4


def _read_object(content):
    try:
        answer = json.loads(content)
    except ValueError:
        raise _foreign() from None
    if not isinstance(answer, dict):
        raise _foreign()
    return answer


def _refusal(answer):
    error = answer.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return _foreign()
    if error["code"] == "not-found" and error.get("field") == "path":
        return AgentError("internal", "Fairlead's agent is older than fairlead-nova. Upgrade Fairlead on this host.")
    return AgentError(
        error["code"],
        str(error.get("message", "")),
        field=error.get("field"),
        leaf=error.get("leaf"),
        retryable=error.get("retryable") is True,
        helper_output=error.get("helperOutput"),
    )
