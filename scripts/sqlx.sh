#!/usr/bin/env bash
# The compile-time check of our SQL. Ordinary builds read what PostgreSQL said about each query from the crate's
# committed `.sqlx` folder, so that they need no database; this script asks PostgreSQL again.
#
#   scripts/sqlx.sh prepare [CRATE-DIR...]   renew the .sqlx folders (of all crates that own tables, unless named)
#   scripts/sqlx.sh check [CRATE-DIR...]     fail, naming the differences, when a .sqlx folder is not up to date
#
# Uses scratch databases on TAEL_DATABASE_URL, or on a PostgreSQL of its own when that is not set.
#
# It does what `cargo sqlx prepare` does, which knows one database for a workspace where we have one for each service:
# the query macros write one file per query into SQLX_OFFLINE_DIR when they are expanded with a database at hand.

set -euo pipefail

readonly EVENT_LOG=libs/eventlog
scratch_database=''
answers=''

die() {
  echo "sqlx.sh: $*" >&2
  exit 1
}

# The address of another database on the same server, parameters kept.
database_url() {
  local base=${TAEL_DATABASE_URL%%\?*}
  echo "${base%/*}/$1${TAEL_DATABASE_URL#"$base"}"
}

# psql at the address $1. The password goes by the environment: arguments are there for every user of the machine to see.
psql_quietly() {
  local url=$1 password=''
  shift
  if [[ $url =~ ^([a-z]+://[^:/@]*):([A-Za-z0-9]+)@(.*)$ ]]; then
    password=${BASH_REMATCH[2]}
    url=${BASH_REMATCH[1]}@${BASH_REMATCH[3]}
  fi
  PGPASSWORD=${password:-${PGPASSWORD:-}} PGOPTIONS='--client-min-messages=warning' \
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@" "$url"
}

drop_scratch() {
  if [ -n "$scratch_database" ]; then
    psql_quietly "$TAEL_DATABASE_URL" --command="DROP DATABASE IF EXISTS $scratch_database WITH (FORCE)"
    scratch_database=''
  fi
}

clean_up() {
  drop_scratch
  [ -z "$answers" ] || rm -rf "$answers"
}

# Creates a database with the schema that the crate's service finds at run time: the event log's, then its own.
create_scratch() {
  local crate=$1 migration migrations=("$1"/migrations/*.sql)
  if [ "$crate" != "$EVENT_LOG" ]; then
    migrations=("$EVENT_LOG"/migrations/*.sql "${migrations[@]}")
  fi
  scratch_database=tael_sqlx_$(basename "$crate")_$$
  psql_quietly "$TAEL_DATABASE_URL" --command="CREATE DATABASE $scratch_database"
  for migration in "${migrations[@]}"; do
    if [ -f "$migration" ]; then # not so when a folder has none and the pattern stands for itself
      psql_quietly "$(database_url "$scratch_database")" --single-transaction --file="$migration"
    fi
  done
}

# Has the compiler ask PostgreSQL about every query of the crate, and keeps the answers as files in $answers.
describe_queries() {
  local crate=$1 package url_variable
  package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$crate/Cargo.toml" | head -n 1)
  url_variable=$(sed -n 's/^database-url-var = "\(.*\)"/\1/p' "$crate/sqlx.toml")
  [ -n "$url_variable" ] || die "$crate/sqlx.toml names no database-url-var"

  # A changed environment alone makes cargo build nothing again. The odd number of codegen units gives this build
  # artifacts of its own, so that an editor that builds at the same time cannot make touched sources look old again.
  find "$crate" -name '*.rs' -exec touch {} +
  (
    export SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$answers" "$url_variable=$(database_url "$scratch_database")"
    cargo check --quiet --all-targets --package "$package" --config "profile.dev.package.$package.codegen-units=255"
  )
}

# The crates that own tables, by folder.
crates() {
  local config
  for config in libs/*/sqlx.toml services/*/sqlx.toml; do
    [ ! -f "$config" ] || dirname "$config"
  done
}

main() {
  local command=${1:-} crate named=() stale=no
  shift || true
  case $command in
  prepare | check) ;;
  *)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
  esac

  cd "$(dirname "$0")/.."
  if [ -z "${TAEL_DATABASE_URL:-}" ]; then
    exec scripts/local.sh with --disposable ".tael/sqlx" -- scripts/sqlx.sh "$command" "$@"
  fi
  if [ $# -gt 0 ]; then
    named=("$@")
  else
    while IFS= read -r crate; do named+=("$crate"); done < <(crates)
  fi
  [ ${#named[@]} -gt 0 ] || die "no crate has a sqlx.toml"

  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  for crate in "${named[@]}"; do
    crate=${crate%/}
    answers=$(mktemp -d "${TMPDIR:-/tmp}/tael-sqlx.XXXXXXXX")
    create_scratch "$crate"
    describe_queries "$crate"
    drop_scratch
    case $command in
    prepare)
      mkdir -p "$crate/.sqlx"
      find "$crate/.sqlx" -name 'query-*.json' -delete
      find "$answers" -name 'query-*.json' -exec mv {} "$crate/.sqlx/" \;
      echo "$crate: $(find "$crate/.sqlx" -name 'query-*.json' | wc -l | tr -d ' ') queries"
      ;;
    check)
      mkdir -p "$crate/.sqlx"
      if diff --recursive --new-file "$crate/.sqlx" "$answers"; then
        echo "$crate: $(find "$answers" -name 'query-*.json' | wc -l | tr -d ' ') queries, up to date"
      else
        stale=yes
        echo "$crate: .sqlx is not up to date"
      fi
      ;;
    esac
    rm -rf "$answers"
    answers=''
  done
  [ "$stale" = no ] || die "stale query descriptions; renew them with: make sqlx"
}

main "$@"
