#!/usr/bin/env bash
# Builds the workspace's binaries once, and lays each beside what its image needs: .tael/tilt/<name>. A file is replaced only
# when its content has changed, so that Tilt restarts the services that have changed and no others.
#
#   tilt/build.sh debug|release <name>…
#
# A migration Job gets its binary apart (.tael/tilt/migrate-<name>), and a newer one only when migrations or rights have
# changed: otherwise every change of a line of Rust would migrate again.

set -euo pipefail
cd "$(dirname "$0")/.."
profile=$1
shift

packages=(--package tael)
for name in "$@"; do packages+=(--package "tael-$name"); done
flags=()
if [ "$profile" = release ]; then flags+=(--release); fi
# Without TAEL_COMMIT: every commit would make every binary a new one.
cargo build --locked "${flags[@]}" "${packages[@]}"
built=${CARGO_TARGET_DIR:-target}/$profile

new=.tael/tilt/new
mkdir -p "$new"

# Replaces $2 by $1 in one step, unless it is the same already.
put() {
  mkdir -p "$(dirname "$2")"
  if cmp --silent "$1" "$2"; then return; fi
  cp "$1" "$new/$$"
  mv -f "$new/$$" "$2"
}

for name in "$@"; do
  # Line tables stay here: what is synced into a pod is a tenth as large without them.
  strip --strip-debug -o "$new/$name" "$built/tael-$name"
  put "$new/$name" ".tael/tilt/$name/service"
  put tilt/run.sh ".tael/tilt/$name/run.sh"

  if [ ! -d "services/$name/migrations" ]; then continue; fi
  cat libs/eventlog/migrations/*.sql libs/eventlog/grants.sql "services/$name"/migrations/*.sql \
    "services/$name/grants.sql" | sha256sum >"$new/$name.sql"
  if ! cmp --silent "$new/$name.sql" ".tael/tilt/$name.sql" || [ ! -f ".tael/tilt/migrate-$name/service" ]; then
    put "$new/$name" ".tael/tilt/migrate-$name/service"
    put tilt/run.sh ".tael/tilt/migrate-$name/run.sh"
    mv -f "$new/$name.sql" ".tael/tilt/$name.sql"
  fi
done
