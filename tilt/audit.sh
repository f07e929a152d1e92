#!/usr/bin/env bash
# Asks whether all the money of the last journey (tilt/journey.sh) is there: that of its merchants, and of no others. A sandbox
# that was started anew, as `tilt down` and `tilt up` do, knows nothing of what others paid before, and says so.
#
#   tilt/audit.sh debug|release URL-of-audit

set -euo pipefail
cd "$(dirname "$0")/.."

merchants=()
while IFS= read -r merchant; do merchants+=("$merchant"); done <.tael/tilt/merchants
[ ${#merchants[@]} -gt 0 ] || { echo 'audit.sh: the journey has left no merchants' >&2; exit 2; }
for merchant in "${merchants[@]}"; do
  "${CARGO_TARGET_DIR:-target}/$1/tael" audit --audit "$2" --merchant "$merchant" --statements-so-far
done
