#!/usr/bin/env bash
# Makes everything new: empty databases, migrated again, an empty Redis, a sandbox that knows nobody.
#
# The sandbox remembers nothing over a restart. What was paid there before is then in our books and in no bill, which the
# money audit says, as it should.

set -euo pipefail
kubectl=(kubectl --namespace tael)
services=(merchant order payment refund settlement notification)

"${kubectl[@]}" exec --stdin statefulset/postgres -- bash -eu -s -- "${services[@]}" <<'SH'
for service in "$@"; do
  psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 \
    -c "drop database if exists tael_$service with (force)" \
    -c "drop role if exists tael_$service, tael_${service}_owner"
done
. /docker-entrypoint-initdb.d/databases.sh
SH
"${kubectl[@]}" exec deployment/redis -- redis-cli flushall
for service in "${services[@]}"; do tilt trigger "migrate-$service"; done
"${kubectl[@]}" rollout restart deployment gateway sandbox "${services[@]}"
