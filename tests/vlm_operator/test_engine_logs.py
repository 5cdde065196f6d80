"""What of a log may be shown: no secret in any form that logs hold them in, and everything else as it stands."""

from __future__ import annotations

import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.engine_logs import LINE_LIMIT, TEXT_LIMIT, explain, last_words, patterns, quote

MOST_TIMES = 10  # a pattern that looks back over the line takes 20 to 200 times as long
TOKENS = st.text(string.ascii_letters + string.digits, min_size=20, max_size=40)
FORMS = (
    "hf_{}",
    "sk-proj-{}",
    "ghp_{}",
    "github_pat_{}",
    "glpat-{}",
    "nvapi-{}",
    "xoxb-{}",
    "eyJ{0}.{0}.{0}",
    "aws_secret_access_key={}",
    "AWS_SESSION_TOKEN: {}",
    "'aws_access_key_id': '{}'",
    'AccountKey="{}"',
    "Authorization: Bearer {}",
    "authorization: bearer  {0}/{0}==",
    "Proxy-Authorization: Basic {}=",
    "'X-Api-Key': '{}'",
    "Set-Cookie: session={}",
    "--api-key {} --port 8000",
    "--api-key {0} {0}",
    "--api-key={}",
    "'api_key': ['{0}', '{0}']",
    '{{\\"token\\": \\"{}\\"}}',
    "VLLM_API_KEY={}",
    "password: '{} {}'",
    'passphrase="{0} {0}"',
    "token=abc,{}",
    "https://user:{}@hub.test/x",
    "https://{}@hub.test/x",
    "postgresql://user:p@{}@db.test/x",
    "https://cdn.test/file?X-Amz-Signature={}",
    "s3://bucket/file?sig={}",
    "/file?token={}",
    "GET /v1/models?a=1&api_key={}&b=2",
    "GET /file?X-Amz-Date=1&X-Amz-Credential={}",
)


@given(
    token=TOKENS,
    form=st.sampled_from(FORMS),
    around=st.sampled_from(["ValueError: {}", "vllm: error: unrecognized arguments: {}", "OSError: at {} failed"]),
)
def test_no_secret_is_quoted(token: str, form: str, around: str) -> None:
    """Keys that begin as a service's do, headers, variables, arguments, addresses that hold one or are signed."""
    line = around.format(form.format(token, token))
    assert token not in quote(line)
    assert token not in last_words(line)


@given(token=st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16))
@pytest.mark.parametrize("kind", ["AKIA", "ASIA", "AROA"])
def test_no_access_key_id_is_quoted(token: str, kind: str) -> None:
    """Wherever it stands."""
    assert token not in quote(f"botocore.exceptions.ClientError: {kind}{token} is not valid")


@given(lines=st.lists(st.text(string.ascii_letters + string.digits + "+/", min_size=64, max_size=64), min_size=2))
@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "])
@pytest.mark.parametrize("whole", [True, False])
def test_no_private_key_is_quoted(lines: list[str], kind: str, whole: bool) -> None:
    """A block of many lines, and one whose beginning the log has lost."""
    end = [f"-----END {kind}PRIVATE KEY-----", "ValueError: bad key"]
    text = "\n".join([*([f"-----BEGIN {kind}PRIVATE KEY-----"] if whole else []), *lines, *end])
    for line in lines:
        assert line not in quote(text)
        assert line not in last_words(text)
    assert last_words(text) == "ValueError: bad key"


@given(token=TOKENS, cut=st.integers(1, 20))
def test_no_half_of_a_secret_is_quoted(token: str, cut: int) -> None:
    """The end of a log may begin in the middle of one."""
    rest = "\n" + "x" * (TEXT_LIMIT - 1 - cut)
    assert token[-cut:] not in last_words(f"ValueError: hf_{token}{rest}") or cut < 8


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: Token indices sequence length is longer than the specified maximum (4096 > 2048)",
        "RuntimeError: The tokenizer has no eos token, set tokenizer_mode",
        "ValueError: Model architectures ['Qwen3OmniMoeThinkerForConditionalGeneration'] are not supported for now",
        "KeyError: 'model.layers.0.mlp.gate_up_proj.weight_scale_inv'",
        "OSError: /usr/local/lib/python3.12/dist-packages/vllm/entrypoints/openai/api_server.py is missing",
        "OSError: https://huggingface.co/api/models/acme/gated: 401 Client Error",
        "ValueError: max_num_batched_tokens (2048) is smaller than max_model_len (4096): 2 tokens",
    ],
)
def test_what_is_no_secret_is_quoted_whole(line: str) -> None:
    """Words that secrets are called by as well, long names, paths, plain addresses."""
    assert quote(line) == line == last_words(line)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("read tcp 10.1.0.5:{port}->10.2.0.9:9090: i/o timeout", "read tcp 10.1.0.5:*->10.2.0.9:9090: i/o timeout"),
        ("read tcp [fd00::5]:{port}->[fd00::9]:9090: EOF", "read tcp [fd00::5]:*->[fd00::9]:9090: EOF"),
        ("no samples at 2026-11-21T12:00:{second}.5Z", "no samples at *"),
        ("no samples at 2026-11-21 12:00:{second}.123456789 +0000 UTC m=+7.{port}", "no samples at *"),
        ("gave up after 1m3.{port}s, since 12:00:{second}", "gave up after *, since *"),
        ("403, RequestID: 3f1c2b4a-0000-4000-8000-0000000{port}", "403, RequestID: *"),
        ("dial tcp 10.2.0.9:9090: timeout of 30s, 1073741824 bytes", None),
    ],
)
@given(port=st.integers(10_000, 65_535), second=st.integers(10, 59))
def test_what_says_the_same_is_quoted_the_same(said: str, shown: str | None, port: int, second: int) -> None:
    """Whenever it is said: a status with it is not written anew each time. Ports of servers and limits are told."""
    line = said.format(port=port, second=second)
    assert quote(line) == (line if shown is None else shown)


def test_a_quote_ends_somewhere() -> None:
    """What is longer says so at its end."""
    said = "so " * 100 + "on"
    assert quote(said) == "so " * 66 + "s…"
    assert quote(said, limit=len(said)) == said


# What patterns begin with, repeat or look for: the words of each pattern of the file, and pieces of secrets.
PIECES = sorted(
    {word for each in patterns() for word in re.findall(r"[\w ':/-]{3,}", each.pattern)}
    | {"-", "--", "--a", "a", "a.", "a-", "1", "(", "[", "'", '"', "\\", " ", "?a-", "&api-", "://", "a://", "://a?"}
    | {"key ", "token", 'token"', "token  ", "bearer  ", "eyJa.", "sk-", "A+/", "=", "\x1b[1;", "(Request ID: ", "é"}
    | {"-----BEGIN ", "PRIVATE KEY", "Error: ", "a.Error", "requests.Connect", "Model architectures [", "NCCL error "}
)


def _seconds(text: str) -> float:
    """The least of some tries, as other work on the machine only adds to it."""
    found = []
    for _ in range(3):
        explain.cache_clear()
        last_words.cache_clear()
        began = time.thread_time()
        explain(text)
        last_words(text)
        quote(text)
        found.append(time.thread_time() - began)
    return min(found)


def test_no_line_takes_much_longer_than_others() -> None:
    """Lines that are made of what patterns look for cost at most a few times what plain ones of their length do."""
    usual = _seconds(("The engine is starting up, " * LINE_LIMIT)[:LINE_LIMIT])
    taken = {piece: _seconds((piece * LINE_LIMIT)[:LINE_LIMIT]) / usual for piece in PIECES}
    assert not {piece: times for piece, times in taken.items() if times > MOST_TIMES}
