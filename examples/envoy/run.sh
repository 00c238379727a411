#!/usr/bin/env bash
# Envoy on port 8080, headrace as its endpoint picker, emulated backends of two kinds of silicon. Ctrl-C ends all of it.
# Needs headrace[envoy] and envoy on the PATH (or its path in ENVOY).
set -euo pipefail
cd "$(dirname "$0")/.."
config=$(mktemp --suffix .json)
trap 'kill $(jobs -p) 2> /dev/null; rm -f "$config"' EXIT
headrace emulate small.toml &
headrace epp small.toml --port 9002 --admin-port 8081 --ledger "$(mktemp -u --suffix .jsonl)" &
headrace epp small.toml --write-envoy-config --port 9002 --listen 127.0.0.1:8080 > "$config"
"${ENVOY:-envoy}" -c "$config" --use-dynamic-base-id -l warning
