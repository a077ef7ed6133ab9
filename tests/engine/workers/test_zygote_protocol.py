"""Packets between the engine and the zygote."""

from __future__ import annotations

import msgspec
import pytest

from engine.workers.zygote_protocol import (
    PACKET,
    Configure,
    Died,
    Fork,
    Forked,
    Kill,
    Ready,
    Refused,
    decode_from_zygote,
    decode_to_zygote,
    encode,
)

TO = [Configure(1, "run", "a:b", b"/\xff", {"grace_seconds": 1.5}, ("json",)), Fork(1, "w1.1", b"/p\xff"), Kill(5, 9)]
FROM = [Ready(1, ("no",)), Forked(1, 2), Refused(1, "too many"), Died(2, 9, "words")]


@pytest.mark.parametrize("message", TO)
def test_orders_arrive_as_sent(message):
    assert decode_to_zygote(encode(message)) == message


@pytest.mark.parametrize("message", FROM)
def test_reports_arrive_as_sent(message):
    assert decode_from_zygote(encode(message)) == message


def test_the_two_directions_do_not_mix():
    with pytest.raises(msgspec.MsgspecError):
        decode_to_zygote(encode(Ready(1)))
    with pytest.raises(msgspec.MsgspecError):
        decode_from_zygote(encode(Kill(1, 9)))


def test_the_longest_report_fits_in_a_packet():
    assert len(encode(Died(2**31, 2**31, "\U0001f600" * 4096))) < PACKET
