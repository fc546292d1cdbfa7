#!/usr/bin/env bash
# Builds a target with the flags that cargo-fuzz gives the compiler, and runs it: fuzz/run.sh TARGET SECONDS [libFuzzer options].
# Works with the stable compiler; cargo-fuzz itself isn't needed. What it finds goes to $CORPUS, else beside what is built.
set -euo pipefail
cd "$(dirname "$0")"
name=$1 seconds=$2
shift 2
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --quiet --locked --release --target "$host" --bin "$name"
options=(-max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -print_final_stats=1)
[ -e "$name.dict" ] && options+=(-dict="$name.dict")
found=${CORPUS:-${CARGO_TARGET_DIR:-target}/corpus}/$name
mkdir -p "$found" artifacts
exec "${CARGO_TARGET_DIR:-target}/$host/release/$name" "${options[@]}" -artifact_prefix=artifacts/ "$@" "$found" "corpus/$name"
