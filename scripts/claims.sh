#!/usr/bin/env bash
# Does every test exist that ARCHITECTURE.md names from "How money cannot be lost" on? A claim whose test was renamed or
# removed is a claim no more.

set -euo pipefail
cd "$(dirname "$0")/.."

claims=$(sed -n '/^## How money cannot be lost/,/^## Decisions/p' ARCHITECTURE.md |
  tr '\n' ' ' | grep -oE '`[a-z0-9]+(_[a-z0-9]+){3,}`' | tr -d '`' | sort -u)
[ -n "$claims" ] || { echo 'claims.sh: ARCHITECTURE.md names no tests' >&2; exit 1; }

missing=0
for name in $claims; do
  if ! git grep -qE "fn $name\(" -- '*.rs'; then
    echo "claims.sh: ARCHITECTURE.md names the test $name, which does not exist" >&2
    missing=1
  fi
done
exit $missing
