"""The strict reader: any bytes give messages or one PacketError, quickly; valid packets give exactly what was sent."""

from __future__ import annotations

import random
import struct
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pythonosc import osc_bundle_builder, osc_message_builder

from soundforge_bridges.osc.reader import IMMEDIATELY, MAX_DEPTH, Message, PacketError, read_packet


def pad(data: bytes) -> bytes:
    return data + b"\0" * (4 - len(data) % 4)


def message(address: bytes, tags: bytes, data: bytes = b"") -> bytes:
    return pad(address) + pad(b"," + tags) + data


def bundle(*elements: bytes, timetag: int = IMMEDIATELY, sizes: list[int] | None = None) -> bytes:
    counted = sizes or [len(element) for element in elements]
    return b"#bundle\0" + struct.pack(">Q", timetag) + b"".join(
        struct.pack(">i", size) + element for size, element in zip(counted, elements, strict=True))


def nest(depth: int) -> bytes:
    data = message(b"/n", b"")
    for _ in range(depth):
        data = bundle(data)
    return data


EVERY_TYPE = (
    b"ifsSbhdtTFNIcrm[ii[s]]",
    struct.pack(">if", -7, 1.5) + pad("näh".encode()) + pad(b"sym") + struct.pack(">i", 5) + b"blob!\0\0\0"
    + struct.pack(">qdQ", -2**40, 0.1, 77) + struct.pack(">I", ord("é")) + b"\1\2\3\4" + b"\x90\x3c\x40\0"
    + struct.pack(">ii", 8, 9) + pad(b"in"))
EVERY_VALUE = (-7, 1.5, "näh", "sym", b"blob!", -2**40, 0.1, 77, True, False, None, float("inf"), "é", 0x01020304,
               b"\x90\x3c\x40\0", (8, 9, ("in",)))


def test_every_type() -> None:
    [got] = read_packet(message(b"/all", *EVERY_TYPE))
    assert got.values == EVERY_VALUE
    assert (got.address, got.timetag, got.tags, got.payload) == (
        "/all", IMMEDIATELY, EVERY_TYPE[0].decode(), EVERY_TYPE[1])


def test_timetags_are_kept_and_never_go_back() -> None:
    inner = bundle(message(b"/b", b""), timetag=50)
    got = read_packet(bundle(message(b"/a", b""), inner, bundle(message(b"/c", b""), timetag=200), timetag=100))
    assert [(m.address, m.timetag) for m in got] == [("/a", 100), ("/b", 100), ("/c", 200)]


def test_no_type_tags_means_no_arguments() -> None:
    assert read_packet(pad(b"/old")) == [Message("/old")]


def test_depth_limit() -> None:
    assert len(read_packet(nest(MAX_DEPTH))) == 1
    for depth in (MAX_DEPTH + 1, 390, 2700):
        with pytest.raises(PacketError, match="nested deeper than 8"):
            read_packet(nest(depth))


ELEMENT = message(b"/n", b"")


@pytest.mark.parametrize(("packet", "what"), [
    (b"", "empty datagram"),
    (b"/a\0", "multiple of 4"),
    (b"abcd", "address has no terminating zero"),
    (pad(b"abc"), "expected '/'"),
    (b"\0\0\0\0", "expected '/'"),
    (pad(b"/a b"), "without spaces"),
    (pad(b"/a\x01"), "printable"),
    (pad(b"/" + b"a" * 300), "at most 255"),
    (pad(b"/\xff\xfe"), "no UTF-8"),
    (pad(b"/a") + pad(b"i"), "expected ',' first"),
    (pad(b"/a") + b"iiii", "no terminating zero"),
    (message(b"/a", b"i"), "ends inside an argument of type 'i'"),
    (message(b"/a", b"d", b"\0\0\0\0"), "type 'd'"),
    (message(b"/a", b"s", b"abcd"), "no terminating zero"),
    (message(b"/a", b"s", pad(b"\xc3(")), "no UTF-8"),
    (message(b"/a", b"b"), "type 'b'"),
    (message(b"/a", b"b", struct.pack(">i", 5) + b"\0" * 4), "claims 5 bytes for an argument where 4 are left"),
    (message(b"/a", b"b", struct.pack(">i", -4) + b"\0" * 8), "claims -4 bytes"),
    (message(b"/a", b"b", struct.pack(">i", 2**31 - 1)), "claims 2147483647"),
    (message(b"/a", b"x", b"\0\0\0\0"), "type tag 'x'"),
    (message(b"/a", b"we", b"\0\0\0\0"), "type tag 'w'"),
    (message(b"/a", b"[i", b"\0\0\0\0"), "not closed"),
    (message(b"/a", b"i]", b"\0\0\0\0"), "type tag ']'"),
    (message(b"/a", b"[" * 9 + b"]" * 9), "arrays nested deeper"),
    (message(b"/a", b"c", b"\xff\xff\xff\xff"), "Unicode code point"),
    (message(b"/a", b"c", b"\0\0\xd8\0"), "Unicode code point"),
    (message(b"/a", b"i", b"\0" * 8), "4 bytes after its last argument"),
    (message(b"/a", b"T" * 257), "at most 256"),
    (b"#bundle\0\0\0\0\0", "no bundle"),
    (b"#bundlf\0" + b"\0" * 8, "no bundle"),
    (bundle(b"\0" * 8, sizes=[-4]), "claims -4 bytes"),
    (bundle(ELEMENT, b"", sizes=[len(ELEMENT), -(len(ELEMENT) + 8)]), "claims -16 bytes"),
    (bundle(ELEMENT, sizes=[0]), "claims 0 bytes"),
    (bundle(ELEMENT, sizes=[6]), "claims 6 bytes"),
    (bundle(ELEMENT, sizes=[2**31 - 4]), "where 8 are left"),
    (bundle(*[pad(b"/a")] * 1001), "more than 1000 messages"),
    (b"\0" * 70_000, "at most 65507"),
])
def test_each_rule(packet: bytes, what: str) -> None:
    with pytest.raises(PacketError, match=what) as caught:
        read_packet(packet)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_patterns_in_an_address_cost_nothing() -> None:
    start = time.perf_counter()
    assert read_packet(message(b"/" + b"*" * 24 + b"Q", b""))[0].address.endswith("Q")
    assert time.perf_counter() - start < 0.01


def read_or_refused(data: bytes) -> bool:
    """Messages as they must be, or one line that says what is wrong; anything else is raised or False."""
    try:
        return all(got.address.startswith("/") and len(got.values) <= 256 for got in read_packet(data))
    except PacketError as error:
        return "\n" not in str(error)


@given(st.binary(max_size=200))
@example(b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xfc" + b"\0" * 8)
def test_any_bytes(data: bytes) -> None:
    assert read_or_refused(data)


SEEDS = [message(b"/all", *EVERY_TYPE), bundle(message(b"/a", b"f", b"\0\0\0\0"), nest(3)), nest(8),
         message(b"/x", b"b", struct.pack(">i", 20000) + bytes(20000))[:1400]]


@settings(max_examples=5 * settings.default.max_examples)
@given(data=st.data())
def test_mutated_packets(data: st.DataObject) -> None:
    packet = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(packet) // 4)) * 4
        packet[at:at + 4] = data.draw(st.sampled_from(
            [b"\xff\xff\xff\xfc", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"[[[[", b",bbb", b""])
            | st.binary(min_size=4, max_size=4))
    assert read_or_refused(bytes(packet))


def test_twenty_thousand_random_mutations() -> None:
    """A plain random fuzzer beside hypothesis: many packets, and a bound on the time of the slowest one."""
    source = random.Random(7)
    slowest = 0.0
    for _ in range(20_000):
        packet = bytearray(source.choice(SEEDS))
        for _ in range(source.randint(1, 4)):
            at = source.randrange(len(packet) + 1)
            packet[at:at + source.choice([0, 1, 4])] = source.randbytes(source.choice([0, 1, 4]))
        packet += b"\0" * (-len(packet) % 4) if source.random() < 0.8 else b""
        start = time.thread_time()  # of this thread only: the machine may be busy
        assert read_or_refused(bytes(packet))
        slowest = max(slowest, time.thread_time() - start)
    assert slowest < 0.25, "no packet of a kilobyte may take long, whatever stands in it"


def test_the_largest_packet_of_arguments() -> None:
    elements = [message(b"/a", b"i" * 250, bytes(1000))] * 50
    start = time.perf_counter()
    assert sum(len(m.values) for m in read_packet(bundle(*elements))) == 12_500
    assert time.perf_counter() - start < 0.5


PLAIN = st.one_of(st.integers(-2**31, 2**31 - 1), st.floats(width=32, allow_nan=False), st.booleans(), st.none(),
                  st.binary(min_size=1, max_size=20),  # python-osc builds no empty blob
                  st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=20))


@given(st.lists(PLAIN, max_size=12), st.integers(0, 3))
def test_agrees_with_python_osc_on_what_it_builds(values: list[Any], depth: int) -> None:
    builder = osc_message_builder.OscMessageBuilder("/some/where")
    for value in values:
        builder.add_arg(value)
    built: Any = builder.build()
    for _ in range(depth):
        wrapper = osc_bundle_builder.OscBundleBuilder(osc_bundle_builder.IMMEDIATELY)
        wrapper.add_content(built)
        built = wrapper.build()
    [got] = read_packet(built.dgram)
    assert got.address == "/some/where" and list(got.values) == values
