"""The proxy of a pod, as HAProxy itself runs it: what it lets through, whom it hears, and how it stops."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from vlm_operator import proxy

from tests.support.proxies import KEYS_READ_SECONDS, UP_SECONDS, Pod, needs_haproxy

pytestmark = needs_haproxy
CHAT = "/v1/chat/completions"
OTHERS = (
    "/invocations",
    "/tokenize",
    "/metrics",
    "/load",
    "/version",
    "/docs",
    "/openapi.json",
    "/v1/load_lora_adapter",
    "/pause",
    "/v1/messages",
    "/v1/realtime",
    "/",
    "/v1/chat/completions/",
    "/v1/chat/completions/batch",
    "//v1/chat/completions",
    "/v1/./chat/completions",
    "/health/../tokenize",
    "/V1/chat/completions",
    "/v1/%63hat/completions",
    "/v1/chat/completions%2f..%2f..%2ftokenize",
    "/v1/chat/completions;/tokenize",
    "http://a/tokenize",
)
SILENCE_SECONDS = 0.5  # after which nothing more is expected on a connection
LONG_KEY = "sk-5d1c0e9a7b3f4862"  # which is in no text by chance


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    with Pod(tmp_path).running() as running:
        yield running


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """One pod for many requests that are all refused, so that its engine hears nothing."""
    with Pod(tmp_path_factory.mktemp("pod")).running() as running:
        yield running


def raw(pod: Pod, request: bytes) -> bytes:
    """All that is answered to these bytes. The client does not leave: HAProxy would take that for the end of it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", pod.port), timeout=UP_SECONDS) as connection, suppress(TimeoutError):
        connection.sendall(request)
        while piece := connection.recv(65536):
            answer += piece
            connection.settimeout(SILENCE_SECONDS)
    return answer


def statuses(answer: bytes) -> list[int]:
    """Of each answer in these bytes."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def in_flight(pod: Pod, backend: str = "inference") -> float:
    return figure(pod, f'haproxy_backend_current_sessions{{proxy="{backend}"}}')


def figure(pod: Pod, name: str) -> float:
    with pod.client(None, port=pod.metrics_port) as client:
        page = client.get("/proxy/metrics").text
    return float(next(line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(f"{name} ")))


def until(holds: object) -> None:
    """Wait for a function to be true."""
    assert callable(holds)
    end = time.monotonic() + UP_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_haproxy_finds_no_fault(tmp_path: Path) -> None:
    """The configuration is valid, without a warning."""
    pod = Pod(tmp_path)
    pod.engine.server_close()
    done = subprocess.run([*pod.command("-c"), "-dW"], capture_output=True, text=True, timeout=UP_SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*proxy.INFERENCE, *proxy.LISTS])
@pytest.mark.parametrize("key", [None, "wrong", "first second", "Bearer first", "firs"])
def test_no_request_without_the_key(refusing: Pod, path: str, key: str | None) -> None:
    """401 in the form of OpenAI's errors, and the engine hears nothing."""
    with refusing.client(key) as client:
        answer = client.request("GET" if path in proxy.LISTS else "POST", path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert refusing.engine.heard == []


def test_what_is_let_through(pod: Pod) -> None:
    """The listed paths by their methods, with what was sent; probes without a key."""
    with pod.client() as client:
        for path in proxy.INFERENCE:
            assert client.post(f"{path}?a=b", content=b"{}").text == "ok"
        for path in proxy.LISTS:
            assert client.get(path).text == "ok"
    with pod.client(None) as client:
        for path in proxy.PROBES:
            assert client.get(path).text == "ok"
    assert [path for _, path, _, _ in pod.engine.heard] == [
        *(f"{path}?a=b" for path in proxy.INFERENCE),
        *proxy.LISTS,
        *proxy.PROBES,
    ]


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_do_not_answer(refusing: Pod, path: str, method: str) -> None:
    """401 without the key and 404 with it, however a path is spelled."""
    for key, status in ((b"", b"401"), (b"Authorization: Bearer first\r\n", b"404")):
        request = b"%s %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n"
        answer = raw(refusing, request % (method.encode(), path.encode(), key))
        assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert refusing.engine.heard == []


def test_other_methods_do_not_answer(pod: Pod) -> None:
    """405, with the method that would."""
    with pod.client() as client:
        for method, path, allowed in (("GET", CHAT, "POST"), ("DELETE", CHAT, "POST"), ("POST", "/v1/models", "GET")):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert pod.engine.heard == []


HIDDEN = b"POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("lengths", "expected", "heard"),
    [
        (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [411], []),
        (b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN), [400], []),
        (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400], []),
        (b"Content-Length: %d\r\n\r\n" % len(HIDDEN), [200], [len(HIDDEN)]),
        (b"Content-Length: 0\r\n\r\n", [200], [0]),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", [200], [0]),
    ],
    ids=["chunks", "two lengths", "unknown coding", "a body", "a second request", "upgrade"],
)
def test_two_requests_in_one_are_none(pod: Pod, lengths: bytes, expected: list[int], heard: list[int]) -> None:
    """What one reader takes for a body, and another for a second request, is refused, is the body, or is never read."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first\r\n"
    assert statuses(raw(pod, head + lengths + HIDDEN)) == expected
    assert [(path, length) for _, path, _, length in pod.engine.heard if path != "/health"] == [
        ("/v1/completions", length) for length in heard
    ]


@pytest.mark.parametrize(
    "start",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64,
        b"POST /v1/completions#/tokenize HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST http://v1/completions HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["HTTP/2", "fragment", "another host"],
)
def test_what_is_no_request_is_refused(refusing: Pod, start: bytes) -> None:
    """400, before any rule."""
    assert set(statuses(raw(refusing, start))) == {400}
    assert refusing.engine.heard == []


def test_a_path_may_have_its_host_before_it(pod: Pod) -> None:
    """As clients write it to a proxy (RFC 9112, 3.2.2); of others' paths see the list above."""
    head = b"POST http://a/v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n"
    assert statuses(raw(pod, head + b"\r\n")) == [401]
    assert statuses(raw(pod, head + b"Authorization: Bearer first\r\n\r\n")) == [200]


@pytest.mark.parametrize("path", [*proxy.PROBES, *proxy.LISTS])
@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 411), (b"Content-Length: 1\r\n\r\nx", 413)],
    ids=["chunks", "length"],
)
def test_what_is_read_takes_no_body(refusing: Pod, path: str, body: bytes, expected: int) -> None:
    """Probes need no key: a body would be one without a bound, from anybody."""
    head = b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first\r\nConnection: close\r\n" % path.encode()
    assert statuses(raw(refusing, head + body)) == [expected]
    assert refusing.engine.heard == []


def test_a_full_port_leaves_the_other_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing need no key; they take no replica out of the Service, and hide no load."""
    monkeypatch.setattr(proxy, "CONNECTIONS", 8)
    with ExitStack() as stack:
        pod = stack.enter_context(Pod(tmp_path).running())
        for _ in range(proxy.CONNECTIONS + 2):
            stack.enter_context(socket.create_connection(("127.0.0.1", pod.port), timeout=UP_SECONDS))
        until(lambda: figure(pod, 'haproxy_frontend_current_sessions{proxy="api"}') == proxy.CONNECTIONS)
        with pod.client() as client, pytest.raises(httpx.TimeoutException):
            client.get("/v1/models", timeout=SILENCE_SECONDS)
        for _ in range(3):
            assert in_flight(pod) == 0
            with pod.client(None, port=pod.metrics_port) as client:
                assert client.get("/proxy/health").status_code == 200
                assert client.get("/metrics").text == "ok"
                assert client.get("/health").text == "ok"


def test_the_engine_is_told_no_more_than_it_needs(pod: Pod) -> None:
    """No key, no cookie, no address, nothing of the operator's; the rest as it was sent."""
    sent = {
        "Cookie": "a=b",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "b",
        "Forwarded": "for=10.0.0.1",
        "X-Vlmctl-Benchmark": "1",
        "X-Request-Id": "mine",
        "traceparent": "00-1-2-01",
    }
    with pod.client() as client:
        client.post(CHAT, content=b"{}", headers=sent)
    (told,) = (headers for _, _, headers, _ in pod.engine.heard)
    assert {name for name in sent if name.lower() in told} == {"X-Request-Id", "traceparent"}
    assert "authorization" not in told


def test_bodies_have_a_length_and_a_bound(pod: Pod) -> None:
    """20 MB of pictures pass, in one piece; without a length, or above the bound, the engine hears nothing."""
    with pod.client() as client:
        assert client.post(CHAT, content=b"x" * 20_000_000).status_code == 200
        assert client.post(CHAT, content=iter([b"x"])).status_code == 411
        size = {"Content-Length": str(proxy.BODY_BYTES + 1)}
    request = b"POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first\r\nContent-Length: %s\r\n\r\n"
    assert raw(pod, request % (CHAT.encode(), size["Content-Length"].encode())).startswith(b"HTTP/1.1 413")
    assert [length for *_, length in pod.engine.heard] == [20_000_000]


def test_a_large_body_without_a_key_is_told_so(pod: Pod) -> None:
    """The answer arrives although the body was not read."""
    with pod.client(None) as client:
        assert client.post(CHAT, content=b"x" * 20_000_000).status_code == 401


def test_a_slow_client_is_heard_to_its_end(pod: Pod) -> None:
    """A body that comes in pieces is the same body, and others are answered meanwhile."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first\r\nContent-Length: 6\r\n\r\n"
    with socket.create_connection(("127.0.0.1", pod.port), timeout=UP_SECONDS) as slow:
        slow.sendall(head.encode())
        for byte in b"abcde":
            slow.sendall(bytes([byte]))
            time.sleep(0.1)
        with pod.client() as client:
            assert client.get("/v1/models").status_code == 200
        slow.sendall(b"f")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
    assert pod.engine.heard[0][1] == CHAT or pod.engine.heard[1][1] == CHAT
    assert 6 in {length for *_, length in pod.engine.heard}


def test_tokens_arrive_as_they_are_made(pod: Pod) -> None:
    """Each event of a stream comes before the next one exists; what is in flight is counted, and what was answered."""
    with pod.client() as client, client.stream("POST", CHAT, content=b"stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        assert in_flight(pod) == 1
        for number in (1, 2):
            pod.engine.more.release()
            assert next(line for line in lines if line) == f"data: {number}"
    until(lambda: in_flight(pod) == 0)
    assert figure(pod, 'haproxy_backend_http_responses_total{proxy="inference",code="2xx"}') == 1


def test_probes_and_lists_do_not_count(pod: Pod) -> None:
    """They have a backend of their own, refused requests have none."""
    with pod.client() as client:
        client.get("/v1/models")
        client.get("/health")
        client.post("/tokenize")
    with pod.client(None) as client:
        client.post(CHAT)
    assert figure(pod, 'haproxy_backend_http_responses_total{proxy="engine",code="2xx"}') == 2
    assert figure(pod, 'haproxy_backend_sessions_total{proxy="inference"}') == 0


def test_counters_have_a_port_of_their_own(pod: Pod) -> None:
    """The engine's, the proxy's and whether each is there; nothing else, and no request."""
    with pod.client(None, port=pod.metrics_port) as client:
        assert client.get("/metrics").text == "ok"
        assert "haproxy_process_start_time_seconds" in client.get("/proxy/metrics").text
        assert client.get("/health").text == "ok"
        for method, path in (("GET", "/"), ("POST", CHAT), ("POST", "/metrics"), ("GET", "/ping"), ("GET", "/load")):
            assert client.request(method, path).status_code == 404
    assert pod.engine.paths == ["/metrics"]


def test_each_request_may_go_to_another_replica(pod: Pod) -> None:
    """A client is told to open another connection, which the Service leads to any replica, new ones included."""
    with pod.client() as client:
        for method, path in (("POST", CHAT), ("GET", "/v1/models")):
            assert client.request(method, path).headers["connection"] == "close"


def write_keys(pod: Pod, text: str) -> None:
    """At once, as the kubelet does."""
    new = pod.keys.with_name("new")
    new.write_text(text)
    new.replace(pod.keys)


def test_keys_change_while_streams_run(pod: Pod) -> None:
    """A second key counts beside the first, then alone; the first one's stream goes on."""
    with pod.client() as client, client.stream("POST", CHAT, content=b"stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        write_keys(pod, "\n  first\nsecond  \n")
        with pod.client("second") as second, pod.client() as first:
            until(lambda: second.get("/v1/models").status_code == 200)
            assert first.get("/v1/models").status_code == 200
            write_keys(pod, "second")
            until(lambda: first.get("/v1/models").status_code == 401)
            assert second.get("/v1/models").status_code == 200
            pod.keys.unlink()
            time.sleep(0.5)
            assert second.get("/v1/models").status_code == 200
        for number in (1, 2):
            pod.engine.more.release()
            assert next(line for line in lines if line) == f"data: {number}"


def test_a_file_that_cannot_be_read_ends_no_reading(pod: Pod) -> None:
    """What was known holds meanwhile, and keys change again once it can be."""
    pod.keys.unlink()
    pod.keys.mkdir()
    time.sleep(5 * KEYS_READ_SECONDS)
    with pod.client() as first, pod.client("second") as second:
        assert first.get("/v1/models").status_code == 200
        pod.keys.rmdir()
        pod.keys.write_text("second")
        until(lambda: second.get("/v1/models").status_code == 200)


def test_no_keys_let_nobody_in(pod: Pod) -> None:
    """An empty Secret opens nothing."""
    write_keys(pod, "\n \n")
    with pod.client() as first:
        until(lambda: first.get("/v1/models").status_code == 401)
    for value in (b"", b"Bearer", b"Bearer ", b"Bearer no", b"Bearer yes", b"Basic Og=="):
        request = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nConnection: close\r\n\r\n"
        assert raw(pod, request % value).startswith(b"HTTP/1.1 401")


def test_a_soft_stop_lets_streams_end(pod: Pod) -> None:
    """On SIGUSR1 nobody new is let in, and the proxy ends with its last stream."""
    assert pod.process is not None
    with pod.client() as client, client.stream("POST", CHAT, content=b"stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        pod.process.send_signal(signal.SIGUSR1)
        until(lambda: refused(pod))
        assert pod.process.poll() is None
        for number in (1, 2):
            pod.engine.more.release()
            assert next(line for line in lines if line) == f"data: {number}"
        assert list(lines) == [""]
    assert pod.process.wait(timeout=UP_SECONDS) == 0


def test_a_soft_stop_waits_no_longer_than_a_request_may_take(tmp_path: Path) -> None:
    """Who says nothing holds the proxy up as long as a request has to arrive."""
    shrunk = {"timeout http-request 30s": "timeout http-request 8s"}
    with Pod(tmp_path, shrunk).running() as pod, socket.create_connection(("127.0.0.1", pod.port)) as silent:
        until(lambda: figure(pod, 'haproxy_frontend_current_sessions{proxy="api"}') == 1)
        assert pod.process is not None
        pod.process.send_signal(signal.SIGUSR1)
        assert pod.process.wait(timeout=UP_SECONDS) == 0
        assert silent.recv(65536).startswith(b"HTTP/1.1 408")


def refused(pod: Pod) -> bool:
    """Whether nobody listens."""
    try:
        with pod.client() as client:
            client.get("/health")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:  # let in, and put out as the proxy closed its door
        return False
    return False


def test_an_engine_that_is_not_there(pod: Pod) -> None:
    """503 at once, in JSON; the failure is logged with its path and without the key, and that of a probe is not."""
    pod.keys.write_text(LONG_KEY)
    pod.engine.shutdown()
    pod.engine.server_close()
    with pod.client(None, port=pod.metrics_port) as client:
        assert client.get("/health").status_code == 503
    with pod.client(LONG_KEY) as client:
        until(lambda: client.get("/v1/models").status_code == 503)
        assert client.get("/health").status_code == 503
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            answer = client.post(f"{CHAT}?secret=of-the-query", content=b"{}")
            seconds.append(time.monotonic() - started)
    assert answer.status_code == 503
    assert json.loads(answer.text)["error"]["type"] == "server_error"
    assert min(seconds) < 1  # HAProxy waits so long before it tries again
    until(lambda: CHAT in pod.log.read_text())
    assert "of-the-query" not in pod.log.read_text()
    assert LONG_KEY not in pod.log.read_text()
    assert "/health" not in pod.log.read_text()


def test_who_leaves_is_not_waited_for(pod: Pod) -> None:
    """A client that goes away in its answer frees its place."""
    with pod.client() as client, client.stream("POST", CHAT, content=b"stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        assert in_flight(pod) == 1
    until(lambda: in_flight(pod) == 0)


def test_who_leaves_before_the_answer_is_not_waited_for(pod: Pod) -> None:
    """The engine still thinks, and hears of it by the end of its connection."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first\r\nContent-Length: 4\r\n\r\nwait"
    with socket.create_connection(("127.0.0.1", pod.port), timeout=UP_SECONDS) as client:
        client.sendall(head.encode())
        until(lambda: in_flight(pod) == 1 and pod.engine.paths == [CHAT])
    until(lambda: in_flight(pod) == 0)


def test_a_long_wait_for_the_first_token_is_not_cut(tmp_path: Path) -> None:
    """While the engine is silent the client is too; its own bound is for what it sends and takes."""
    bound_seconds = 3.0
    shrunk = {"timeout client 5m": f"timeout client {bound_seconds * 1000:.0f}ms"}
    with Pod(tmp_path, shrunk).running() as pod, ThreadPoolExecutor(1) as asking, pod.client() as client:
        asked = asking.submit(client.post, CHAT, content=b"wait")
        time.sleep(1.5 * bound_seconds)
        pod.engine.more.release()
        assert asked.result(timeout=UP_SECONDS).status_code == 200
