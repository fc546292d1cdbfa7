"""Bundles made by packages that none of us wrote go in whole: each resource is an event, a recognised non-event, or a
reported problem."""

import collections
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from program import BINARY, ROOT

TOOLS = pathlib.Path(sys.executable).parent
# What clinosim writes as bulk data is sent in bundles of this many.
ENTRIES = 500


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fhir")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (folder / "key").write_bytes(b"7" * 32)
    environment = {
        **os.environ,
        "JOURNEYLOG_SITE__FILE": str(ROOT / "deploy" / "site.example.toml"),
        "JOURNEYLOG_SITE__PSEUDONYM_KEY_FILE": str(folder / "key"),
        "JOURNEYLOG_INGEST__MAX_BODY_BYTES": str(64 << 20),
        "JOURNEYLOG_QUERY__AFTER_LIMIT_MS": "120000",
    }
    args = ["--log", f"sqlite:{folder}/log.db", "--store", f"sqlite:{folder}/views.db"]
    process = subprocess.Popen([BINARY, *args, "--listen", f"127.0.0.1:{port}", "all"], env=environment)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/readyz")
            break
        except OSError:
            time.sleep(0.2)
    yield address
    process.terminate()
    assert process.wait(20) == 0


def send(base, resource):
    """Status and answer."""
    request = urllib.request.Request(
        f"{base}/fhir", json.dumps(resource).encode(), {"content-type": "application/fhir+json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def outcomes(bundle, answer):
    """For each entry its type, what became of it, and the events."""
    assert answer["resourceType"] == "Bundle" and len(answer["entry"]) == len(bundle["entry"])
    for sent, got in zip(bundle["entry"], answer["entry"]):
        response = got["response"]
        status, issues = response["status"].split()[0], response["outcome"]["issue"]
        events = [i["details"]["coding"][0]["code"] for i in issues if "details" in i]
        if status in ("200", "201"):
            nothing = [i for i in issues if i.get("diagnostics", "").startswith("no journey event")]
            assert events or len(nothing) == 1, issues
            became = "event" if events else "nothing"
        else:
            assert status == "422" and all(i["severity"] == "error" and i["expression"] for i in issues), issues
            became = "problem"
        yield sent["resource"]["resourceType"], became, events


def tally(base, bundle):
    status, answer = send(base, bundle)
    assert status == 200, json.dumps(answer)[:2000]
    counts, events = collections.Counter(), collections.Counter()
    for kind, became, told in outcomes(bundle, answer):
        counts[kind, became] += 1
        events.update(told)
    return counts, events


def again(base, bundle):
    """A resend brings nothing new."""
    status, answer = send(base, bundle)
    assert status == 200
    assert {e["response"]["status"].split()[0] for e in answer["entry"]} <= {"200", "422"}


def test_synthea_bundles_go_in_whole(base, tmp_path):
    command = [TOOLS / "synthea", "-p", "2", "-s", "5", "-r", "20260901", "-o", tmp_path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    files = sorted((tmp_path / "fhir").glob("*.json"))
    assert files
    for file in files:
        bundle = json.loads(file.read_text())
        assert bundle["type"] == "transaction"
        counts, events = tally(base, bundle)
        visits = sum(e["resource"]["resourceType"] == "Encounter" for e in bundle["entry"])
        assert visits and counts["Encounter", "event"] == visits
        assert events["ConsultStarted"] + events["PatientAdmitted"] == visits
        assert events["ClaimSubmitted"] == counts["Claim", "event"] > 0 and events["ClaimPaid"] > 0
        assert not [k for k in counts if k[1] == "problem"], counts
        assert counts["Observation", "nothing"] and not counts["Observation", "event"]
        again(base, bundle)


def simulate(folder, until):
    command = [TOOLS / "clinosim", "simulate", "--country", "US", "--population", "30", "--seed", "7", "--format", "fhir-r4",
               "--start", "2026-01-01", "--end", until, "--output", folder]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder / "fhir_r4"


def test_clinosim_resources_go_in_whole(base, tmp_path):
    entries = []
    for file in sorted(simulate(tmp_path / "a", "2026-02-01").glob("*.ndjson")):
        for line in file.read_text().splitlines():
            resource = json.loads(line)
            name = f"{resource['resourceType']}/{resource['id']}"
            entries.append({"resource": resource, "request": {"method": "PUT", "url": name}})
    counts, events = collections.Counter(), collections.Counter()
    for begin in range(0, len(entries), ENTRIES):
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries[begin:begin + ENTRIES]}
        some, told = tally(base, bundle)
        counts.update(some)
        events.update(told)
        again(base, bundle)
    assert counts["Encounter", "event"] and events["ConsultEnded"], (counts, events)
    assert counts["Observation", "nothing"]
    # References are bare here; each Patient ties the server's id to its record number.
    assert events["PatientIdentifiersChanged"] == counts["Patient", "event"] > 0
    assert sum(n for (_, became), n in counts.items() if became == "problem") == 0, counts

    # What changed in the next weeks, as the package's own transaction.
    later, changes = simulate(tmp_path / "b", "2026-03-15"), tmp_path / "changes.json"
    command = [TOOLS / "clinosim", "diff", "--old", tmp_path / "a" / "fhir_r4", "--new", later, "--output-bundle", changes]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    bundle = json.loads(changes.read_text())
    assert bundle["type"] == "transaction"
    counts, told = tally(base, bundle)
    assert counts["Encounter", "event"] and not [k for k in counts if k[1] == "problem"], counts
    again(base, bundle)
    assert (events + told)["OrderPlaced"], (events, told)
