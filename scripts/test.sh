#!/usr/bin/env bash
# The part of `make test` that needs PostgreSQL and Redis: is the SQL as the committed descriptions say, and do all
# tests pass? Ends with the sum over all test binaries, of which cargo prints only the parts.

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/claims.sh
scripts/sqlx.sh check

results=$(mktemp "${TMPDIR:-/tmp}/tael-test.XXXXXXXX")
# The templates that tests copy their databases from, and databases whose test ended with its process, would stay on a server
# that is not thrown away.
finish() {
  rm -f "$results"
  command -v psql >/dev/null || return 0
  psql -AtqX "$TAEL_DATABASE_URL" -c "select format('drop database if exists %I', datname) from pg_database
    where datname like 'tael\_template\_%' or datname like 'tael\_test\_%'
    union all
    select format('drop role if exists %I', rolname) from pg_roles where rolname like 'tael\_test\_%\_service'" |
    psql -qX "$TAEL_DATABASE_URL" || true
}
trap finish EXIT
status=0
cargo test --workspace --no-fail-fast 2>&1 | tee "$results" || status=$?

awk '
  /^test result: / { binaries++; passed += $4; failed += $6; ignored += $8 }
  END { printf "\nall tests: %d passed, %d failed, %d ignored, in %d test binaries\n", passed, failed, ignored, binaries }
' "$results"
exit "$status"
