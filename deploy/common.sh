# Sourced by run.sh and run-services.sh: build, sample, waiting, and where to look.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
run_dir=${JOURNEYLOG_RUN_DIR:-$root/.run}
listen=${JOURNEYLOG_LISTEN:-127.0.0.1:8080}
patients=${SAMPLE_PATIENTS:-300}
mkdir -p "$run_dir"

say() { printf '%s\n' "$*" >&2; }

build() {
  tests/servers/install.sh "$@"
  say "Building (the first time takes some minutes) …"
  cargo build --release --locked --quiet -p journeylog
  journeylog=${CARGO_TARGET_DIR:-$root/target}/release/journeylog
}

# Publishes the sample once per log: $1 is the folder that remembers it.
sample() {
  if [ -e "$1/sample-loaded" ]; then return; fi
  say "Loading $patients sample patients …"
  "$journeylog" simulate --patients "$patients" --days 60 --seed 1 --until "$(date -u +%Y-%m-%dT%H:00:00Z)" >"$1/sample.ndjson"
  "$journeylog" --log "$2" publish "$1/sample.ndjson"
  touch "$1/sample-loaded"
}

wait_for() { # URL, seconds, what
  for _ in $(seq $(($2 * 5))); do
    if curl -sf -o /dev/null "$1"; then return; fi
    sleep 0.2
  done
  say "$3 did not answer at $1 within $2 s"
  exit 1
}

where_to_look() {
  local base=http://$listen
  wait_for "$base/readyz" 60 journeylog
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

Ctrl-C stops it. Data: $run_dir
TXT
}
