"""A Java-compatible Kafka client that none of us wrote reads and writes the same log as the program."""

import io
import json
import os
import socket
import struct
import subprocess
import time
import urllib.request
import uuid

import fastavro
import pytest
from confluent_kafka import Consumer, Producer
from program import BINARY, ROOT

LOCK = json.loads((ROOT / "schemas" / "lock.json").read_text())
KAFKA = os.environ.get("JOURNEYLOG_TEST_KAFKA")
CI = os.environ.get("CI") == "true"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not KAFKA:
        assert not CI, "JOURNEYLOG_TEST_KAFKA is not set"
        pytest.skip("SKIPPED: JOURNEYLOG_TEST_KAFKA is not set (make test sets it)")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    topic = f"python-{uuid.uuid4().hex}"
    store = tmp_path_factory.mktemp("store") / "views.db"
    args = ["--log", f"kafka://{KAFKA}/{topic}?partitions=4&replication=1", "--store", f"sqlite:{store}"]
    environment = {**os.environ, "JOURNEYLOG_QUERY__AFTER_LIMIT_MS": "120000"}
    process = subprocess.Popen([BINARY, *args, "--listen", f"127.0.0.1:{port}", "all"], env=environment)
    base = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{base}/readyz")
            break
        except OSError:
            time.sleep(0.2)
    yield base, topic
    process.terminate()
    assert process.wait(20) == 0


def schema(event):
    entry = [e for e in LOCK if e["event"] == event][-1]
    return entry["id"], fastavro.parse_schema(entry["schema"])


def frame(event, value):
    number, parsed = schema(event)
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, number))
    fastavro.schemaless_writer(out, parsed, value)
    return out.getvalue()


def checked_in(patient, event_id):
    now = int(time.time() * 1_000_000)
    return {
        "header": {
            "event_id": event_id, "occurred_at": now, "recorded_at": now, "zone": "Asia/Seoul",
            "source": {"system": "python"}, "patient_id": patient, "site": "seoul",
        },
        "appointment_id": "A-1",
    }


def get(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.status, json.load(answer)


def test_a_foreign_producer_lands_on_the_timeline(server):
    base, topic = server
    patient, event_id = f"p-{uuid.uuid4().hex[:16]}", str(uuid.uuid4())
    # murmur2_random is what Java's default partitioner does with a key.
    producer = Producer({"bootstrap.servers": KAFKA, "partitioner": "murmur2_random", "acks": "all"})
    landed = []
    producer.produce(topic, frame("PatientCheckedIn", checked_in(patient, event_id)), patient,
                     on_delivery=lambda error, m: landed.append((m.partition(), m.offset())))
    producer.flush(30)
    partition, offset = landed[0]
    page = get(f"{base}/v1/patients/{patient}/timeline?after={partition}:{offset}")
    assert event_id in json.dumps(page)

    # The gateway puts the same patient on the same partition.
    native = {"type": "WaitEstimated", "appointment_id": "A-1", "wait_told_min": 5,
              "header": {"event_id": str(uuid.uuid4()), "occurred_at": "2026-01-05T09:00:00Z",
                         "recorded_at": "2026-01-05T09:00:00Z", "zone": "Asia/Seoul",
                         "source": {"system": "python"}, "patient_id": patient, "site": "seoul"}}
    _, answer = post(f"{base}/v1/events", native)
    assert answer["position"].split(":")[0] == str(partition)


def test_what_the_gateway_writes_a_foreign_consumer_reads(server):
    base, topic = server
    patient, event_id = f"p-{uuid.uuid4().hex[:16]}", str(uuid.uuid4())
    native = {"type": "PatientQuestionAsked", "question_id": "Q-1", "topic": "risk",
              "header": {"event_id": event_id, "occurred_at": "2026-01-05T09:00:00Z",
                         "recorded_at": "2026-01-05T09:01:00Z", "zone": "Asia/Seoul",
                         "source": {"system": "python"}, "patient_id": patient, "site": "seoul"}}
    status, _ = post(f"{base}/v1/events", native)
    assert status == 201
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    until = time.time() + 60
    while time.time() < until:
        message = consumer.poll(1.0)
        if message is None or message.error() or (message.key() or b"").decode() != patient:
            continue
        magic, number = struct.unpack(">bI", message.value()[:5])
        expected, parsed = schema("PatientQuestionAsked")
        assert (magic, number) == (0, expected)
        value = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), parsed)
        assert str(value["header"]["event_id"]) == event_id and value["topic"] == "risk"
        assert dict(message.headers())["event-type"] == b"PatientQuestionAsked"
        break
    else:
        raise AssertionError("the event never came")
    consumer.close()
