"""The client against a socket that misbehaves in every way an agent can."""

import os
import threading
import time
import unittest

from fairlead_nova import client
from fairlead_nova.client import Agent
from fairlead_nova.client import AgentError

from . import scripted

GOOD = scripted.answer(200, {"leaf": "abc", "changed": True})


def ask(server, timeout=5.0, body=None):
    return Agent(server.path).ask("/v1/nova/connect", {"instance": "x"} if body is None else body, timeout)


class Timed:
    def __enter__(self):
        self._begun = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self._begun


class Answers(unittest.TestCase):
    def refused(self, server, code, timeout=5.0):
        with self.assertRaises(AgentError) as caught:
            ask(server, timeout)
        self.assertEqual(caught.exception.code, code)
        return caught.exception

    def test_an_answer_is_returned_and_the_request_is_what_was_asked(self):
        with scripted.Scripted(GOOD) as server:
            self.assertEqual(ask(server, 10, {"a": "ü"}), {"leaf": "abc", "changed": True})
        [(route, body)] = server.requests
        self.assertEqual(route, "/v1/nova/connect")
        self.assertEqual(body["a"], "ü")

    def test_the_agent_is_told_a_deadline_before_ours(self):
        with scripted.Scripted(GOOD) as server:
            ask(server, 10)
            ask(server, 1)
            Agent(server.path).ask("/v1/nova/extend", {}, 1)
        long, short, none = (body.get("timeoutMs") for _, body in server.requests)
        self.assertIsNone(none)
        self.assertTrue(7_500 <= long <= 8_000, long)
        self.assertTrue(400 <= short <= 500, short)

    def test_an_answer_is_complete_before_the_agent_hangs_up(self):
        def open_ended(server, connection):
            GOOD(server, connection)
            server.wait(60)

        with scripted.Scripted(open_ended) as server, Timed() as took:
            ask(server)
        self.assertLess(took.seconds, 2)

    def test_an_answer_may_come_byte_by_byte(self):
        with scripted.Scripted(scripted.answer(200, {"a": 1}, slow=0.002)) as server:
            self.assertEqual(ask(server), {"a": 1})

    def test_a_refusal_that_may_not_be_repeated_is_raised_at_once_with_all_it_says(self):
        with scripted.Scripted(scripted.refusal(409, "foreign", False, leaf="l", field="f", helperOutput="h")) as server:
            error = self.refused(server, "foreign")
        self.assertEqual((error.leaf, error.field, error.helper_output, error.message), ("l", "f", "h", "Look at it."))
        self.assertEqual(len(server.requests), 1)

    def test_an_agent_without_the_route_is_called_old(self):
        with scripted.Scripted(scripted.refusal(404, "not-found", False, field="path")) as server:
            self.assertIn("older", self.refused(server, "internal").message)


class Again(unittest.TestCase):
    """What is tried again, and for how long."""

    def test_until_an_agent_that_is_away_answers(self):
        away = scripted.refusal(503, "unavailable", True)
        half = scripted.answer(200, {"a": "b" * 100}, cut=150)
        head = scripted.answer(200, {"a": 1}, cut=20)
        for name, act in (("unavailable", away), ("reset", scripted.reset), ("half", half), ("head", head)):
            with self.subTest(name), scripted.Scripted(act, act, GOOD) as server:
                self.assertEqual(ask(server)["leaf"], "abc")

    def test_with_the_same_request_each_time(self):
        with scripted.Scripted(scripted.refusal(503, "stuck", True), GOOD) as server:
            ask(server)
        first, second = ({**body, "timeoutMs": 0} for _, body in server.requests)
        self.assertEqual(first, second)

    def test_until_a_socket_is_there_at_all(self):
        for begin in ("nothing", "nobody listens"):
            server = scripted.Scripted(GOOD)
            if begin == "nobody listens":
                with scripted.socket.socket(scripted.socket.AF_UNIX) as left:
                    left.bind(server.path)
            timer = threading.Timer(0.5, lambda server=server: (_unlink(server.path), server.__enter__()))
            timer.start()
            with self.subTest(begin), Timed() as took:
                self.assertEqual(ask(server)["leaf"], "abc")
            timer.join()
            server.__exit__()
            self.assertGreater(took.seconds, 0.4)

    def test_with_pauses_that_grow(self):
        with scripted.Scripted(scripted.refusal(503, "unavailable", True)) as server, Timed() as took:
            with self.assertRaises(AgentError):
                ask(server, 3)
        self.assertTrue(4 <= len(server.requests) <= 8, len(server.requests))
        self.assertLess(took.seconds, 3.2)

    def test_for_the_whole_time_if_fairlead_is_at_fault_and_for_less_if_the_storage_is(self):
        before = client.STORAGE_PATIENCE
        client.STORAGE_PATIENCE = 0.7
        self.addCleanup(setattr, client, "STORAGE_PATIENCE", before)
        for code, storage in (("stuck", False), ("unavailable", False), ("hung", True), ("helper-failed", True)):
            with self.subTest(code), scripted.Scripted(scripted.refusal(503, code, True)) as server, Timed() as took:
                with self.assertRaises(AgentError) as caught:
                    ask(server, 3)
            self.assertEqual(caught.exception.code, code)
            if storage:
                self.assertLess(took.seconds, 0.9)
            else:
                self.assertGreater(took.seconds, 0.9)

    def test_never_if_the_socket_may_not_be_opened_or_is_no_path(self):
        for path, code in (("/" + "x" * 200, "config-invalid"),):
            with self.assertRaises(AgentError) as caught, Timed() as took:
                Agent(path).ask("/v1/nova/connect", {}, 5)
            self.assertEqual(caught.exception.code, code)
            self.assertLess(took.seconds, 1)

    @unittest.skipIf(os.geteuid() != 0, "needs root, to become somebody else")
    def test_never_if_the_way_to_the_socket_is_closed(self):
        with scripted.Scripted(GOOD) as server:
            child = os.fork()
            if child == 0:
                os.setgid(4242)
                os.setuid(4242)
                try:
                    ask(server)
                except AgentError as error:
                    os._exit(7 if error.code == "permission-denied" else 1)
                os._exit(1)
            self.assertEqual(os.waitpid(child, 0)[1] >> 8, 7)


class Deadlines(unittest.TestCase):
    """However the time passes, it ends."""

    def test_with_an_answer_that_never_comes(self):
        trickle = scripted.answer(200, {"a": "b" * 1000}, slow=0.05)
        for name, act in (("silent", scripted.silent), ("deaf", scripted.deaf), ("trickle", trickle)):
            with self.subTest(name), scripted.Scripted(act) as server, Timed() as took:
                with self.assertRaises(AgentError) as caught:
                    ask(server, 1)
                self.assertEqual(caught.exception.code, "deadline-exceeded")
            self.assertTrue(0.9 < took.seconds < 1.5, took.seconds)

    def test_with_what_was_known_before_the_time_was_up(self):
        late = scripted.refusal(504, "deadline-exceeded", True)
        for name, act in (("silent", scripted.silent), ("late", late)):
            with self.subTest(name), scripted.Scripted(scripted.refusal(502, "helper-failed", True), act) as server:
                with self.assertRaises(AgentError) as caught:
                    ask(server, 1)
            self.assertEqual(caught.exception.code, "helper-failed")

    def test_with_nobody_there(self):
        server = scripted.Scripted(GOOD)
        with Timed() as took, self.assertRaises(AgentError) as caught:
            ask(server, 1)
        scripted.shutil.rmtree(os.path.dirname(server.path))
        self.assertEqual(caught.exception.code, "unavailable")
        self.assertLess(took.seconds, 1.2)

    def test_with_a_queue_that_is_full(self):
        with scripted.Scripted(GOOD) as server:
            path = server.path + "2"
            with scripted.socket.socket(scripted.socket.AF_UNIX) as full:
                full.bind(path)
                full.listen(0)
                fillers = [scripted.socket.socket(scripted.socket.AF_UNIX) for _ in range(3)]
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(path)
                with Timed() as took, self.assertRaises(AgentError) as caught:
                    Agent(path).ask("/v1/nova/connect", {}, 1)
                for filler in fillers:
                    filler.close()
        self.assertIn(caught.exception.code, ("unavailable", "deadline-exceeded"))
        self.assertLess(took.seconds, 1.5)


class Garbage(unittest.TestCase):
    """What is no agent is said to be none, at once."""

    def test_is_named(self):
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
        cases = {
            "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
            "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
            "no status": b"HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\n{}",
            "no JSON": head % 3 + b"{a}",
            "no UTF-8": head % 3 + b'"\xff"',
            "no object": head % 2 + b"[]",
            "an error of another form": b'HTTP/1.1 500 X\r\ncontent-length: 13\r\n\r\n{"error": 1 }',
            "too much": head % 2_000_000 + b"x" * 2_000_000,
            "endless headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 400_000,
        }
        for name, content in cases.items():
            with self.subTest(name), scripted.Scripted(scripted.raw(content)) as server, Timed() as took:
                with self.assertRaises(AgentError) as caught:
                    ask(server)
                self.assertEqual(caught.exception.code, "internal")
                self.assertEqual(len(server.requests), 1)
            self.assertLess(took.seconds, 2)


class Crowds(unittest.TestCase):
    def test_of_threads_each_get_their_own_answer(self):
        def own(server, connection):
            received = b""
            while b"}" not in received:
                received += connection.recv(65536)
            body = scripted.json.loads(received.partition(b"\r\n\r\n")[2])
            content = scripted.json.dumps({"me": body["me"]}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content) + content)

        answers = {}
        with scripted.Scripted(own) as server:

            def work(me):
                answers[me] = ask(server, 10, {"me": me})["me"]

            threads = [threading.Thread(target=work, args=(me,)) for me in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(answers, {me: me for me in range(64)})

    def test_of_processes_that_were_forked_in_between_share_nothing(self):
        with scripted.Scripted(GOOD) as server:
            agent = Agent(server.path)
            agent.ask("/v1/nova/connect", {}, 5)
            child = os.fork()
            if child == 0:
                os._exit(0 if agent.ask("/v1/nova/connect", {}, 5)["leaf"] == "abc" else 1)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertEqual(agent.ask("/v1/nova/connect", {}, 5)["leaf"], "abc")


def _unlink(path):
    if os.path.exists(path):
        os.unlink(path)


if __name__ == "__main__":
    unittest.main()
