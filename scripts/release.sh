#!/usr/bin/env bash
# Says which images an overlay runs, and names its migration Jobs after what they do.
#
#   scripts/release.sh <overlay> <repository> <tag> <digests>
#   scripts/release.sh --await <overlay>       waits until the cluster has done its migrations; fails when one has failed
#   scripts/release.sh --renew [<overlay>…]    after a change of migrations, with the images as they are
#   scripts/release.sh --check [<overlay>…]    fails when that was forgotten
#
#   scripts/release.sh production registry.example.com/tael 1.4.0 digests.txt
#
# The images are <repository>/order:<tag> and so on, fixed by the digests in a file of lines such as `order sha256:…`, so
# that nobody can put another image under the same tag. Only staging does without.
#
# A Job's template cannot change, so every version of a migration is a Job of its own: the suffix of the names is a hash over
# the Jobs as they are rendered and over the migrations. The same input gives the same files.

set -euo pipefail
export LC_ALL=C # the order of files is part of the hash
cd "$(dirname "$0")/.."

# One for each folder of services, and the command line.
images=(services/*/)
images=("${images[@]#services/}")
images=("${images[@]%/}" tael)
overlays=(production staging)

die() { echo "release.sh: $*" >&2; exit 1; }

# The suffix of the Jobs of $1. Their names are hashed without the suffix that they have now.
suffix() {
  local rendered
  rendered=$(kubectl kustomize "k8s/overlays/$1") || die "k8s/overlays/$1 can't be rendered"
  {
    awk -v RS='---\n' '/(^|\n)kind: Job\n/' <<<"$rendered" | sed -E 's/^(  name: migrate-[a-z]+)-[0-9a-f]{10}$/\1/'
    sha256sum libs/eventlog/migrations/*.sql libs/eventlog/grants.sql services/*/migrations/*.sql services/*/grants.sql
  } | sha256sum | cut -c -10
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT

written_by='# Written by scripts/release.sh; do not edit.'

# Those of our images that the overlay $1 runs.
used() {
  local rendered image
  rendered=$(kubectl kustomize "k8s/overlays/$1") || die "k8s/overlays/$1 can't be rendered"
  for image in "${images[@]}"; do
    if grep -qE "^ +(- )?image: ([^ ]+/)?$image(:[^ ]+)?(@[^ ]+)?\$" <<<"$rendered"; then echo "$image"; fi
  done
}

write_release() { # overlay repository tag digests
  local written=k8s/overlays/$1/release/kustomization.yaml
  if [ ! -f "$written" ]; then
    mkdir -p "$(dirname "$written")"
    printf 'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n' >"$written"
  fi
  local wanted
  wanted=$(used "$1")
  {
    echo "$written_by"
    echo 'apiVersion: kustomize.config.k8s.io/v1alpha1'
    echo 'kind: Component'
    echo
    echo 'images:'
    local image digest
    for image in $wanted; do
      echo "  - name: tael/$image"
      echo "    newName: $2/$image"
      echo "    newTag: \"$3\""
      if [ -n "$4" ]; then
        digest=$(awk -v image="$image" '$1 == image { print $2 }' "$4")
        [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || die "$4 has no digest for $image"
        echo "    digest: $digest"
      fi
    done
  } >"$new"
  cp "$new" "$written"
}

write_migrations() { # overlay suffix
  mkdir -p "k8s/overlays/$1/migrations"
  cat >"k8s/overlays/$1/migrations/kustomization.yaml" <<YAML
$written_by
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

resources:
  - ../../../base/migrations/jobs

nameSuffix: "-$2"
YAML
}

# Waits for the migration Jobs of the overlay $1 in the cluster that kubectl speaks to, and for those of no other release.
await_migrations() {
  local jobs states reported=
  jobs=$(kubectl kustomize "k8s/overlays/$1/migrations") || die "k8s/overlays/$1/migrations can't be rendered"
  while :; do
    states=$(kubectl get -f - -o \
      jsonpath='{range .items[*]}{.metadata.name}:{range .status.conditions[?(@.status=="True")]} {.type}{end}{"\n"}{end}' \
      <<<"$jobs") || die 'not all of the migration Jobs are in the cluster; apply first'
    if [ "$states" != "$reported" ]; then
      printf '%s\n' "$states"
      reported=$states
    fi
    if grep -qw Failed <<<"$states"; then die 'a migration has failed; see "A migration that fails" in docs/operations.md'; fi
    if ! grep -qvw Complete <<<"$states"; then return 0; fi
    sleep 5
  done
}

case "${1:-}" in
  --await)
    [ $# -eq 2 ] || die 'wanted: --await <overlay>'
    [[ " ${overlays[*]} " == *" $2 "* ]] || die "there is no overlay $2 with releases (${overlays[*]})"
    await_migrations "$2"
    ;;
  --check | --renew)
    mode=$1
    shift
    [ $# -gt 0 ] || set -- "${overlays[@]}"
    stale=0
    for overlay in "$@"; do
      wanted=$(suffix "$overlay")
      if grep -qxF "nameSuffix: \"-$wanted\"" "k8s/overlays/$overlay/migrations/kustomization.yaml"; then continue; fi
      if [ "$mode" = --renew ]; then
        write_migrations "$overlay" "$wanted"
        echo "$overlay: migrations are now named -$wanted"
      else
        echo "release.sh: the migration Jobs of $overlay have changed; run scripts/release.sh --renew" >&2
        stale=1
      fi
    done
    exit "$stale"
    ;;
  "" | -*)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
  *)
    [ $# -eq 4 ] || { [ $# -eq 3 ] && [ "$1" = staging ]; } || die "wanted: <overlay> <repository> <tag> <digests>"
    [[ " ${overlays[*]} " == *" $1 "* ]] || die "there is no overlay $1 with releases (${overlays[*]})"
    [[ $2 =~ ^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$ ]] || die "$2 is no repository such as registry.example.com/tael"
    [[ $3 =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || die "$3 is no tag"
    [ -d "k8s/overlays/$1/migrations" ] || write_migrations "$1" 0000000000
    write_release "$1" "$2" "$3" "${4:-}"
    write_migrations "$1" "$(suffix "$1")"
    echo "$1 runs $2/*:$3"
    ;;
esac
