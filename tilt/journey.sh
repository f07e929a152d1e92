#!/usr/bin/env bash
# Plays whole journeys against the cluster, through Tilt's port-forwards: orders, payments, refunds, and whether all money
# adds up afterwards. Fails when any of it does not.
#
#   tilt/journey.sh debug|release [option of `tael bench`…]

set -euo pipefail
cd "$(dirname "$0")/.."
profile=$1
shift

# A port-forward is there a moment after its pod is ready.
for port in {50051..50057} 8080 8090; do
  for ((tries = 60; ; tries--)); do
    if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    if [ "$tries" = 0 ]; then
      echo "journey.sh: nothing listens on 127.0.0.1:$port" >&2
      exit 1
    fi
    sleep 0.5
  done
done
mkdir -p .tael/tilt
exec "${CARGO_TARGET_DIR:-target}/$profile/tael" bench --merchants-to .tael/tilt/merchants \
  --clients 1 --seconds 1 --merchants 1 --refund-every 1 \
  --merchant 127.0.0.1:50051 --order 127.0.0.1:50052 --payment 127.0.0.1:50053 --refund 127.0.0.1:50054 \
  --settlement 127.0.0.1:50055 --notification 127.0.0.1:50056 --audit 127.0.0.1:50057 --gateway 127.0.0.1:8080 --sandbox 127.0.0.1:8090 \
  "$@"
