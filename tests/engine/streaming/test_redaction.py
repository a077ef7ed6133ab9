"""Secret values are found by name and masked, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.streaming.redaction import MASK, Redactor, secret_values

SECRET = b"sk-canary-0123456789"


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "OPENAI_API_KEY",
        "GITHUB_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "db_password",
        "MY_SECRETS",
        "PASSWD",
        "SSH_PASSPHRASE",
    ],
)
def test_names_of_secrets(name):
    assert secret_values({name: "abcdefgh1234"}) == {b"abcdefgh1234"}


@pytest.mark.parametrize("name", ["PATH", "HOME", "KEYBOARD", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK"])
def test_other_names(name):
    assert secret_values({name: "abcdefgh1234"}) == set()


def test_short_values_are_words():
    assert secret_values({"API_KEY": "true", "TOKEN": "1234567"}) == set()


def test_password_in_a_url_of_any_name():
    assert secret_values({"DATABASE": "postgres://me:longpassword@host/db"}) == {b"longpassword"}


def test_lines_of_a_long_secret_count_alone():
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----"
    assert {b"MIIEvQIBADANBg", b"kqhkiG9w0BAQ"} < secret_values({"PRIVATE_KEY": key})
    assert b"-----END KEY-----" not in secret_values({"PRIVATE_KEY": key})


def test_without_secrets_the_same_bytes_come_back():
    data = b"x" * 100
    redactor = Redactor()
    assert redactor.feed(data) is data
    assert not redactor


@pytest.mark.parametrize("cut", range(len(SECRET) + 8))
def test_a_secret_across_chunks(cut):
    text = b"key=" + SECRET + b" end"
    redactor = Redactor([SECRET])
    out = redactor.feed(text[:cut]) + redactor.feed(text[cut:]) + redactor.flush()
    assert out == b"key=" + MASK + b" end"


def test_only_what_could_be_a_secret_is_held_back():
    redactor = Redactor([SECRET])
    assert redactor.feed(b"hello\n") == b"hello\n"
    assert redactor.feed(b"hello sk-ca") == b"hello "
    assert redactor.feed(b"ts\n") == b"sk-cats\n"
    assert redactor.feed(SECRET[:5]) == b""
    assert redactor.flush() == SECRET[:5]


def test_the_longest_secret_goes_first():
    assert Redactor([b"password", b"password1234"]).clean(b"<password1234>") == b"<" + MASK + b">"


def test_text():
    assert Redactor([SECRET]).clean_text(f"é {SECRET.decode()}") == f"é {MASK.decode()}"


@given(
    st.lists(st.sampled_from([b"a", b"ab", b"abcabcab", b"c", b"\n", b"abcabcabd", b"xyzxyzxy"]), max_size=30),
    st.data(),
)
def test_any_cut_gives_what_the_whole_gives(parts, data):
    secrets = [b"abcabcab", b"xyzxyzxy"]
    text = b"".join(parts)
    redactor, out, at = Redactor(secrets), b"", 0
    while at < len(text):
        step = data.draw(st.integers(1, 12))
        out += redactor.feed(text[at : at + step])
        at += step
    out += redactor.flush()
    assert not any(secret in out for secret in secrets)
    assert out.replace(MASK, b"") == Redactor(secrets).clean(text).replace(MASK, b"")
