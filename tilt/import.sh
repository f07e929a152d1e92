#!/usr/bin/env bash
# Builds an image without Docker and imports it on the node, for a cluster that has no registry:
#
#   tilt up -- --import-command tilt/import.sh
#
# tilt/image.sh says what: EXPECTED_REF is the image's name and tag, CONTEXT its folder, DOCKERFILE and BASE how it is made.
# TAEL_NODE_IMPORT is the command that takes the archive from its standard input on the node:
#
#   k3s       sudo k3s ctr images import -        (the default)
#   k0s       sudo k0s ctr images import -
#   kind      docker exec -i kind-control-plane ctr --namespace k8s.io images import -
#   far away  ssh node sudo ctr --namespace k8s.io images import -

set -euo pipefail
: "${EXPECTED_REF:?}" "${CONTEXT:?}" "${DOCKERFILE:?}" "${BASE:?}"

archive=$(mktemp --suffix .tar)
trap 'rm -f "$archive"' EXIT
rm "$archive" # buildah wants to make it itself
buildah build --quiet --layers --file "$DOCKERFILE" --build-arg "BASE=$BASE" --tag "$EXPECTED_REF" "$CONTEXT" >/dev/null
buildah push --quiet "$EXPECTED_REF" "docker-archive:$archive:$EXPECTED_REF"
${TAEL_NODE_IMPORT:-sudo k3s ctr images import -} <"$archive"
