"""Secrets in foreign text never come near the journal: a table of how they are written, and what is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.masking import MASK, masked, masked_lines

AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # Amazon's own example
CANARY = "c4n4ry"

SECRETS = (
    ("password=c4n4ry ok", "password=[masked] ok"),
    ("DB_PASSWORD: c4n4ry", "DB_PASSWORD: [masked]"),
    ("a_rather_long_prefix_of_more_than_forty_letters_password=c4n4ry", None),
    ('{"password": "c4 n4ry c4n4ry", "n": 1}', '{"password": "[masked]", "n": 1}'),
    ('{\\"token\\":\\"c4n4ry\\",\\"n\\":1}', '{\\"token\\":\\"[masked]\\",\\"n\\":1}'),
    ("secret => 'c4n4ry'", "secret => '[masked]'"),
    ("passphrase='c4n4ry", "passphrase='[masked]'"),
    ("GET /login?token=c4n4ry&user=ada", "GET /login?token=[masked]&user=ada"),
    ("exec app --password c4n4ry --port 5", "exec app --password [masked] --port 5"),
    ("api-key: c4n4ry; x-api-key=c4n4ry", "api-key: [masked]; x-api-key=[masked]"),
    ("aws_secret_access_key = c4n4ry", "aws_secret_access_key = [masked]"),
    ("Authorization: Bearer c4n4ry.c4n4ry", "Authorization: [masked]"),
    ("authorization: Digest username=ada, response=c4n4ry", "authorization: [masked]"),
    ("curl -H 'Authorization: Basic c4n4ry' http://x", "curl -H 'Authorization: [masked]' http://x"),
    ("Set-Cookie: id=c4n4ry; Secure", "Set-Cookie: [masked]"),
    ("sent bearer c4n4ryc4n4ry to x", "sent bearer [masked] to x"),
    ("postgres://app:c4n4ry@db:5432/x", "postgres://[masked]@db:5432/x"),
    ("amqp://app:c4@n4ry@mq/ and http://c4n4ry@h", "amqp://[masked]@mq/ and http://[masked]@h"),
    ("key AKIAIOSFODNN7EXAMPLE used", "key [masked] used"),
    (f"signed with {AWS}", "signed with [masked]"),
    ("ghp_c4n4ryc4n4ryc4n4ryc4n4ry", MASK),
    ("xoxb-12345-c4n4ry", MASK),
    ("https://hooks.slack.com/services/T0/B0/c4n4ry", "https://hooks.slack.com/[masked]"),
    ("jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c4n4ry", "jwt [masked]"),
    ("-----BEGIN EC PRIVATE KEY-----\nc4n4ry\n-----END EC PRIVATE KEY----- after", "[masked] after"),
    ("-----BEGIN EC PRIVATE KEY-----\nc4n4ry", MASK),
)

LEFT_ALONE = (
    "password authentication failed for user app",
    "the secret of a good night is sleep",
    "the bearer of news",
    "http://10.0.0.1:8080/healthz?email=a@b.c",
    "/usr/lib/python3/distpackages/some/long/path/without/any/dots/at/all",
    "image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "HTTP 503, expected 200",
    "",
)


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_a_secret_is_masked_however_it_is_written(text: str, shown: str | None) -> None:
    """What is around it stays, so that the line still says something."""
    assert CANARY not in masked(text)
    assert MASK in masked(text)
    assert shown in (None, masked(text))


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_a_little_like_a_secret_is_left_alone(text: str) -> None:
    """A log that is nothing but masks helps nobody."""
    assert text == masked(text)


KEYS = (
    (["a", "x -----BEGIN RSA PRIVATE KEY-----", CANARY, "-----END RSA PRIVATE KEY----- y", "b"], ["a", "x [masked]", " y", "b"]),
    (["a", "app: " + CANARY * 4, CANARY * 3 + "==", "-----END PRIVATE KEY-----", "b"], ["a", MASK, "b"]),
    (["a", "-----BEGIN PRIVATE KEY-----", CANARY], ["a", MASK]),
    (["-----BEGIN A-----" + CANARY + "-----END A-----", "b"], [MASK, "b"]),
)  # fmt: skip


@pytest.mark.parametrize(("lines", "shown"), KEYS)
def test_a_key_that_runs_over_lines_is_masked_whole(lines: list[str], shown: list[str]) -> None:
    """Also where the log begins or ends in the middle of it."""
    assert shown == masked_lines(lines)


WORDS = st.lists(
    st.sampled_from(
        [*(text for text, _ in SECRETS), *LEFT_ALONE, " ", "=", ":", '"', "'", "\\", "@", "://", "--", "[masked]", "a", "\n"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(WORDS | st.text(max_size=80))
def test_masking_twice_changes_nothing(text: str) -> None:
    """So it does not matter who has masked already."""
    assert masked(masked(text)) == masked(text)


@given(st.lists(WORDS.map(lambda text: text.replace("\n", " ")), max_size=6))
def test_masking_lines_twice_changes_nothing(lines: list[str]) -> None:
    """As for one line."""
    assert masked_lines(masked_lines(lines)) == masked_lines(lines)


@pytest.mark.parametrize("hostile", ["a", "token", "-----BEGIN A", "A1b", "password ", '"', "://", " ", "eyJa."])
def test_no_line_takes_long(hostile: str) -> None:
    """A hundred lines as long as they are looked at: the loop must not stand still for what a sick machine prints."""
    line = (hostile * 500)[:500]
    begun = time.process_time()
    masked_lines([line] * 100)
    assert time.process_time() - begun < 0.5
