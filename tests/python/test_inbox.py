"""Stock Avro serializers publish to the inbox against the served registry; the examples of docs/publishing/kafka.md are what runs."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from program import BINARY, ROOT

KAFKA = os.environ.get("JOURNEYLOG_TEST_KAFKA")
CI = os.environ.get("CI") == "true"
DOCS = (ROOT / "docs" / "publishing" / "kafka.md").read_text()
JARS = ROOT / ".cache" / "java" / "libs"
NAME = "org.journeylog.event.PatientCheckedIn"


class Server:
    def __init__(self, base, inbox, refused, events):
        self.base, self.inbox, self.refused, self.events = base, inbox, refused, events
        self.registry = f"{base}/registry"
        self.environment = {**os.environ, "KAFKA": KAFKA, "REGISTRY": self.registry, "INBOX": inbox}

    def get(self, path):
        with urllib.request.urlopen(self.base + path) as answer:
            return json.load(answer)

    def timeline_has(self, patient, event_id, limit=90):
        until = time.time() + limit
        while time.time() < until:
            try:
                if event_id in json.dumps(self.get(f"/v1/patients/{patient}/timeline")):
                    return True
            except urllib.error.HTTPError as e:
                assert e.code == 404, e
            time.sleep(0.2)
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not KAFKA:
        assert not CI, "JOURNEYLOG_TEST_KAFKA is not set"
        pytest.skip("SKIPPED: JOURNEYLOG_TEST_KAFKA is not set (make test sets it)")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    events = f"python-{uuid.uuid4().hex}"
    inbox, refused = f"{events}.inbox", f"{events}.refused"
    store = tmp_path_factory.mktemp("store") / "views.db"
    arguments = ["--log", f"kafka://{KAFKA}/{events}?partitions=4&replication=1", "--store", f"sqlite:{store}"]
    environment = {**os.environ, "JOURNEYLOG_INBOX__TOPIC": inbox, "JOURNEYLOG_INBOX__REFUSED_TOPIC": refused,
                   "JOURNEYLOG_INBOX__WITH_ALL": "true"}
    process = subprocess.Popen([BINARY, *arguments, "--listen", f"127.0.0.1:{port}", "all"], env=environment)
    base = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{base}/readyz")
            break
        except OSError:
            time.sleep(0.2)
    yield Server(base, inbox, refused, events)
    process.terminate()
    assert process.wait(20) == 0


def example(language):
    return re.search(rf"```{language}\n(.*?)```", DOCS, re.S).group(1)


def records(topic, want):
    """The first record of a topic that `want` takes."""
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    until = time.time() + 60
    try:
        while time.time() < until:
            message = consumer.poll(1.0)
            if message is not None and not message.error() and want(message):
                return message
    finally:
        consumer.close()
    raise AssertionError(f"it never came to {topic}")


def test_the_python_example_publishes(server):
    patient = f"p-{uuid.uuid4().hex[:16]}"
    done = subprocess.run([sys.executable, "-c", example("python"), patient], env=server.environment,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    event_id = done.stdout.strip()
    moved = records(server.events, lambda m: m.key() == patient.encode())
    assert dict(moved.headers())["event-id"] == event_id.encode()
    assert server.timeline_has(patient, event_id)


def event(patient, **header):
    now = int(time.time() * 1_000_000)
    return {"header": {"event_id": str(uuid.uuid4()), "occurred_at": now, "recorded_at": now, "zone": "Asia/Seoul",
                       "source": {"system": "python"}, "patient_id": patient, "site": "seoul", **header}}


def test_the_default_settings_register_what_is_there(server):
    """auto.register.schemas=True and TopicNameStrategy, with the schema as fastavro parsed it."""
    import fastavro

    client = SchemaRegistryClient({"url": server.registry})
    newest = client.get_latest_version(NAME)
    parsed = fastavro.parse_schema(json.loads(newest.schema.schema_str))
    respelt = json.dumps({k: v for k, v in parsed.items() if not k.startswith("__")}, indent=1)
    assert respelt != newest.schema.schema_str
    context = SerializationContext(server.inbox, MessageField.VALUE)
    patient = f"p-{uuid.uuid4().hex[:16]}"
    sent = event(patient)
    value = AvroSerializer(client, respelt)(sent, context)
    assert struct.unpack(">bI", value[:5]) == (0, newest.schema_id)
    producer = Producer({"bootstrap.servers": KAFKA})
    # the record's key is not the event's
    producer.produce(server.inbox, value, key="another")
    producer.flush(30)
    moved = records(server.events, lambda m: m.key() == patient.encode())
    assert moved.value() == value
    back = AvroDeserializer(client)(moved.value(), SerializationContext(server.events, MessageField.VALUE))
    assert back["header"]["event_id"] in (sent["header"]["event_id"], uuid.UUID(sent["header"]["event_id"]))


def test_a_schema_of_ones_own_is_refused(server):
    client = SchemaRegistryClient({"url": server.registry})
    own = json.dumps({"type": "record", "name": "Mine", "fields": [{"name": "a", "type": "int"}]})
    with pytest.raises(SchemaRegistryError) as refused:
        AvroSerializer(client, own)({"a": 1}, SerializationContext(server.inbox, MessageField.VALUE))
    assert (refused.value.http_status_code, refused.value.error_code) == (422, 42205)
    assert NAME in client.get_subjects()
    newest = client.get_latest_version(NAME)
    assert client.test_compatibility(NAME, newest.schema)
    assert client.get_compatibility() == "FULL_TRANSITIVE"


def test_bad_ones_land_among_the_refused(server):
    client = SchemaRegistryClient({"url": server.registry})
    schema = client.get_latest_version(NAME).schema
    bad = event("p-bad", zone="Nowhere/Nowhere")
    value = AvroSerializer(client, schema)(bad, SerializationContext(server.inbox, MessageField.VALUE))
    producer = Producer({"bootstrap.servers": KAFKA})
    producer.produce(server.inbox, value, key=b"\xff\x00")
    producer.produce(server.inbox, b"not avro", key=None)
    producer.produce(server.inbox, None, key="tombstone")
    producer.flush(30)
    wrong = records(server.refused, lambda m: m.key() == b"\xff\x00")
    headers = dict(wrong.headers())
    assert (wrong.value(), headers["refused-reason"]) == (value, b"invalid")
    assert headers["refused-pointers"] == b"/header/zone"
    assert headers["refused-source"] == b"python"
    assert headers["refused-event-id"].decode() == bad["header"]["event_id"]
    assert headers["refused-position"].decode().startswith(server.inbox + ":")
    unframed = records(server.refused, lambda m: m.value() == b"not avro")
    assert (unframed.key(), dict(unframed.headers())["refused-reason"]) == (None, b"not_framed")
    tombstone = records(server.refused, lambda m: m.key() == b"tombstone")
    assert (tombstone.value(), dict(tombstone.headers())["refused-reason"]) == (None, b"not_framed")
    metrics = urllib.request.urlopen(f"{server.base}/metrics").read().decode()
    assert 'ingest_source_total{source="python",protocol="kafka",result="refused",reason="invalid"} 1' in metrics


@pytest.mark.parametrize("topic_name", [False, True], ids=["by record", "by topic"])
def test_the_java_example_publishes(server, topic_name):
    """Flink's serializer registers its schema with Confluent's client before it writes."""
    if not JARS.exists():
        assert not CI, "tests/servers/install.sh --with-java has not run"
        pytest.skip("SKIPPED: .cache/java is not there (tests/servers/install.sh --with-java)")
    code = ROOT / "tests" / "java" / "Publish.java"
    assert example("java") == code.read_text(), "the page shows another program"
    patient = f"p-{uuid.uuid4().hex[:16]}"
    path = f"{ROOT}/.cache/kafka/libs/*:{JARS}/*"
    subject = [f"{server.inbox}-value"] if topic_name else []
    done = subprocess.run(["java", "-cp", path, code, patient, *subject], env=server.environment,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    event_id = done.stdout.strip().splitlines()[-1]
    moved = records(server.events, lambda m: m.key() == patient.encode())
    assert dict(moved.headers())["source"] == b"java-desk"
    assert server.timeline_has(patient, event_id)
