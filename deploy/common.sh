# Sourced by run.sh and run-services.sh: build, sample, waiting, and where to look.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
run_dir=$(realpath -m -- "${JOURNEYLOG_RUN_DIR:-$root/.run}")
program=${JOURNEYLOG_PROGRAM:+$(realpath -m -- "$JOURNEYLOG_PROGRAM")} # one that is built already
cd "$root"
export -n JOURNEYLOG_RUN_DIR JOURNEYLOG_PROGRAM 2>/dev/null || true # they are no configuration
listen=${JOURNEYLOG_LISTEN:-127.0.0.1:8080}
patients=${SAMPLE_PATIENTS:-300}
mkdir -p "$run_dir"

hl7=${JOURNEYLOG_HL7__LISTEN:-127.0.0.1:2575}

say() { printf '%s\n' "$*" >&2; }

taken() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; } # host:port

if taken "$listen"; then
  say "$listen is taken (JOURNEYLOG_LISTEN says where else)"
  exit 1
fi

build() {
  tests/servers/install.sh "$@"
  if [ -n "$program" ]; then
    journeylog=$program
    return
  fi
  say "Building (the first time takes some minutes) …"
  cargo build --release --locked $([ -t 2 ] || echo --quiet) -p journeylog # its bar on a terminal
  # Cargo's own configuration may have it built elsewhere.
  journeylog=$(cargo metadata --no-deps --locked --format-version 1 | jq -r .target_directory)/release/journeylog
}

# The sample hospital's rules, the key of its pseudonyms, and a token for those who may look one up; $1 is the folder for HL7's
# quarantine.
site() {
  if ! [ -s "$run_dir/staff-tokens" ]; then
    (
      umask 077
      head -c 32 /dev/urandom >"$run_dir/pseudonym.key"
      head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$run_dir/staff-token"
      printf 'desk %s\n' "$(sha256sum <"$run_dir/staff-token" | cut -d ' ' -f 1)" >"$run_dir/staff-tokens"
    )
  fi
  export JOURNEYLOG_SITE__FILE=${JOURNEYLOG_SITE__FILE:-$root/deploy/site.example.toml}
  export JOURNEYLOG_SITE__PSEUDONYM_KEY_FILE=${JOURNEYLOG_SITE__PSEUDONYM_KEY_FILE:-$run_dir/pseudonym.key}
  export JOURNEYLOG_SITE__STAFF_TOKENS_FILE=${JOURNEYLOG_SITE__STAFF_TOKENS_FILE:-$run_dir/staff-tokens}
  if taken "$hl7"; then
    say "$hl7 is taken: no HL7 (JOURNEYLOG_HL7__LISTEN says where else)"
    hl7=
  fi
  export JOURNEYLOG_HL7__LISTEN=$hl7
  export JOURNEYLOG_HL7__QUARANTINE=${JOURNEYLOG_HL7__QUARANTINE:-sqlite:$1/quarantine.db?partitions=1}
}

# Publishes the sample once per log: $1 is the folder that remembers it.
sample() {
  if [ -e "$1/sample-loaded" ]; then return; fi
  say "Loading $patients sample patients …"
  # A load that was interrupted goes on with the same events.
  if ! [ -e "$1/sample.ndjson" ]; then
    "$journeylog" simulate --patients "$patients" --days 60 --seed 1 --until "$(date -u +%Y-%m-%dT%H:00:00Z)" >"$1/sample.part"
    mv "$1/sample.part" "$1/sample.ndjson"
  fi
  "$journeylog" --log "$2" publish "$1/sample.ndjson"
  touch "$1/sample-loaded"
}

wait_for() { # URL, seconds, what, its process
  for _ in $(seq $(($2 * 5))); do
    if curl -sf -o /dev/null "$1"; then return; fi
    if ! kill -0 "$4" 2>/dev/null; then
      say "$3 has ended"
      exit 1
    fi
    sleep 0.2
  done
  say "$3 did not answer at $1 within $2 s"
  exit 1
}

where_to_look() { # the process that answers
  local base=http://$listen
  wait_for "$base/readyz" 60 journeylog "$1"
  local journey item
  # The views may still be catching up with the sample: wait until the demo patient's journey is there.
  for _ in $(seq 150); do
    journey=$(curl -sf "$base/v1/patients/p-demo-0001/journeys" | jq -r '.items[0].id // empty' || true)
    item=$(curl -sf "$base/v1/follow-ups?status=open&limit=1" | jq -r '.items[0].item_id // empty' || true)
    if [ -n "$journey" ] && [ -n "$item" ]; then break; fi
    sleep 0.2
  done
  cat <<TXT

Journeylog is up at $base

  API, readable            $base/docs
  a patient's timeline     curl -s $base/v1/patients/p-demo-0001/timeline
  the pre-visit card       curl -s $base/v1/patients/p-demo-0001/card
  a score and its reasons  curl -s $base/v1/journeys/$journey/mot
  scores by department     curl -s '$base/v1/mot/aggregates?by=department'
  open follow-ups          curl -s '$base/v1/follow-ups?status=open'
  one of them              curl -s $base/v1/follow-ups/$item
  how far each view is     curl -s $base/v1/status

Publish an event of your own:

  curl -s $base/v1/events -H 'content-type: application/json' -d '{"type":"PatientCheckedIn","header":{
    "event_id":"$(cat /proc/sys/kernel/random/uuid)","occurred_at":"$(date -u +%Y-%m-%dT%H:%M:%SZ)",
    "recorded_at":"$(date -u +%Y-%m-%dT%H:%M:%SZ)","zone":"Asia/Seoul","source":{"system":"curl"},
    "patient_id":"p-demo-0001","site":"seoul"},"appointment_id":"A-1"}'

The same by FHIR, with the patient's record number, and the pseudonym that it became:

  curl -s $base/fhir -H 'content-type: application/fhir+json' -d '{"resourceType":"Appointment","id":"A-2","status":"booked",
    "created":"$(date -u +%Y-%m-%dT%H:%M:%SZ)","start":"$(date -u -d '+3 days' +%Y-%m-%dT01:00:00Z)","minutesDuration":20,"participant":[
    {"actor":{"type":"Patient","identifier":{"system":"http://hospital.example/mrn","value":"00120035"}}}]}'
  curl -s $base/v1/pseudonyms -H "authorization: Bearer \$(cat '$run_dir/staff-token')" \\
    -H 'content-type: application/json' -d '{"authority":"http://hospital.example/mrn","number":"00120035"}'

HL7 v2 over MLLP: ${hl7:-not taken} (docs/publishing/hl7.md has a sender in a few lines of bash). Who sent what, and how good it was:

  curl -s $base/v1/sources

Ctrl-C stops it. Data: $run_dir
TXT
}
