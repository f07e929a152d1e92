#!/usr/bin/env bash
# Makes everything new: empty databases, migrated again, an empty Redis, a sandbox that knows of no payment.
#
# The sandbox remembers no payment over a restart. What was paid there before is then in our books and in no statement,
# which the money audit says, as it should.
#
# The services end before the migrations begin: a node has room for the one or for the other, and a service that waits for
# its schema while the migration waits for room waits for ever. Nobody holds a connection to what is dropped, either.

set -euo pipefail
kubectl=(kubectl --namespace tael)
cd "$(dirname "$0")/.."
# As the folders of services say: all are deployed, and those that have migrations own a database.
deployments=(services/*/) services=(services/*/migrations)
deployments=("${deployments[@]#services/}") services=("${services[@]#services/}")
deployments=("${deployments[@]%/}") services=("${services[@]%/migrations}")
jobs=("${services[@]/#/migrate-}")
readonly PATIENCE_SECONDS=${PATIENCE_SECONDS:-600}

# What was begun comes back whatever happens.
start() { "${kubectl[@]}" scale --replicas 1 deployment "${deployments[@]}"; }
trap start EXIT
"${kubectl[@]}" scale --replicas 0 deployment "${deployments[@]}"
"${kubectl[@]}" wait --for delete pod --timeout 120s \
  --selector 'app.kubernetes.io/component in (service, gateway, sandbox)'

"${kubectl[@]}" exec --stdin statefulset/postgres -- bash -eu -s -- "${services[@]}" <<'SH'
for service in "$@"; do
  psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 \
    -c "drop database if exists tael_$service with (force)" \
    -c "drop role if exists tael_$service, tael_${service}_owner"
done
. /docker-entrypoint-initdb.d/databases.sh
SH
"${kubectl[@]}" exec deployment/redis -- redis-cli flushall

# Away first, so that those that are waited for are the new ones.
"${kubectl[@]}" delete job --ignore-not-found --wait "${jobs[@]}"
for job in "${jobs[@]}"; do tilt trigger "$job"; done
deadline=$((SECONDS + PATIENCE_SECONDS))
for job in "${jobs[@]}"; do
  while :; do
    state=$("${kubectl[@]}" get job "$job" --ignore-not-found \
      --output jsonpath='{range .status.conditions[?(@.status=="True")]}{.type} {end}')
    if [[ " $state " == *' Complete '* ]]; then break; fi
    if [[ " $state " == *' Failed '* ]] || [ "$SECONDS" -ge "$deadline" ]; then
      echo "forget.sh: $job is not done; kubectl -n tael logs job/$job says why" >&2
      exit 1
    fi
    sleep 1
  done
done
