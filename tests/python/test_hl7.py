"""An MLLP client that none of us wrote (the package hl7) sends every sample message, and reads the acknowledgements."""

import os
import socket
import subprocess
import time
import urllib.request

import hl7
import pytest
from hl7.client import MLLPClient
from program import BINARY, ROOT

SAMPLES = ROOT.parent / "shared" / "data" / "hl7v2"
SITE = 'zone = "Asia/Seoul"\n[hl7]\ncurrency = "KRW"\n'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hl7")
    (folder / "site.toml").write_text(SITE)
    http, mllp = free_port(), free_port()
    environment = {
        **os.environ,
        "JOURNEYLOG_LOG__URL": f"sqlite:{folder}/log.db",
        "JOURNEYLOG_STORE__URL": f"sqlite:{folder}/views.db",
        "JOURNEYLOG_HL7__QUARANTINE": f"sqlite:{folder}/quarantine.db",
        "JOURNEYLOG_SITE__FILE": str(folder / "site.toml"),
        "JOURNEYLOG_PSEUDONYM_KEY": "k" * 32,
        "JOURNEYLOG_LISTEN": f"127.0.0.1:{http}",
        "JOURNEYLOG_HL7__LISTEN": f"127.0.0.1:{mllp}",
    }
    process = subprocess.Popen([BINARY, "ingest", "hl7"], env=environment)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz")
            break
        except OSError:
            time.sleep(0.2)
    yield mllp
    process.terminate()
    assert process.wait(20) == 0


def files():
    if not SAMPLES.exists():
        pytest.skip("SKIPPED: ../shared/data/hl7v2 is not beside the project")
    return sorted(SAMPLES.glob("*.hl7"))


def send(client, data):
    """The acknowledgement's fields, or None where none comes."""
    client.socket.settimeout(20 if b"|NE|NE" not in data else 1)
    try:
        answer = client.send_message(data)
    except TimeoutError:
        return None
    assert answer.startswith(b"\x0b") and answer.endswith(b"\x1c\r"), answer
    return hl7.parse(answer[1:-2].decode())


def code(ack):
    return None if ack is None else str(ack.segment("MSA")[1])


def test_every_file_as_it_stands(listener):
    first, sent, accepted = {}, 0, 0
    with MLLPClient("127.0.0.1", listener) as client:
        for path in files():
            data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            fields = data.split(b"\n", 1)[0].split(b"|")
            # Most files come from one sender under one id, but are different messages: only the first can be taken.
            key = tuple(fields[2:6] + [fields[9]])
            expected = "AA" if key not in first else "AE"
            first.setdefault(key, path.name)
            if b"|AL|NE|" in data:
                expected = "CA"
            if b"|NE|NE" in data:
                expected = None
            ack = send(client, data)
            assert code(ack) == expected, path.name
            sent += 1
            accepted += expected in ("AA", "CA")
            if ack is None:
                continue
            assert str(ack.segment("MSA")[2]) == fields[9].decode(), path.name
            if expected == "AE":
                assert str(ack.segment("ERR")[3]).startswith("205^"), path.name
                assert str(ack.segment("ERR")[2]).startswith("MSH^1^10"), path.name
    assert sent == 35 and accepted > 15


def test_every_file_under_an_id_of_its_own_twice(listener):
    with MLLPClient("127.0.0.1", listener) as client:
        for n, path in enumerate(files()):
            data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            was = data.split(b"\n", 1)[0].split(b"|")[9]
            data = data.replace(b"|" + was + b"|", b"|own-%d|" % n, 1)
            ack = send(client, data)
            assert code(ack) in ({"CA"} if b"|AL|NE|" in data else {None} if b"|NE|NE" in data else {"AA"}), path.name
            again = send(client, data)
            assert str(again) == str(ack), f"{path.name}: a resend gets its first acknowledgement again"


def test_what_is_wrong_is_named(listener):
    with MLLPClient("127.0.0.1", listener) as client:
        ack = send(client, b"MSH|^~\\&|A|B|C|D|20260302090000+0900||ADT^A01|w1|P|2.5\rPID|1||\rPV1|1|I|W|||||||||||||||||7\r")
        assert code(ack) == "AE" and str(ack.segment("ERR")[2]) == "PID^1^3^1^1", ack
        assert str(ack.segment("ERR")[3]) == "101^Required field missing^HL70357"
        ack = send(client, b"MSH|^~\\&|A|B|C|D|20260302090000+0900||ADT^A01|w2|P|9.9\rPID|1||1\r")
        assert code(ack) == "AR" and str(ack.segment("ERR")[3]).startswith("203^")
