#!/usr/bin/env bash
# Has an import command (tilt/import.sh, or one of yours) make an image, under a tag that follows from what is in it: the
# same binary under the next `tilt up` is the same image, so that nothing is deployed again and no migration runs again.
#
#   IMAGE=tael/order CONTEXT=… DOCKERFILE=… BASE=… REF_FILE=… tilt/image.sh <import command>
#
# The import command finds the name and the tag in EXPECTED_REF; Tilt reads both from REF_FILE.

set -euo pipefail
: "${IMAGE:?}" "${CONTEXT:?}" "${DOCKERFILE:?}" "${BASE:?}" "${REF_FILE:?}"

# Names, modes and contents; never times.
content() {
  printf '%s\n' "$BASE"
  sha256sum <"$DOCKERFILE"
  (
    cd "$CONTEXT"
    find . -type f -print0 | LC_ALL=C sort -z | while IFS= read -r -d '' file; do
      if [ -x "$file" ]; then printf 'x '; fi
      sha256sum "$file"
    done
  )
}

tag=content-$(content | sha256sum | cut -c -20)
export EXPECTED_REF=$IMAGE:$tag EXPECTED_IMAGE=$IMAGE EXPECTED_TAG=$tag
bash -c "$1"
mkdir -p "$(dirname "$REF_FILE")"
printf '%s\n' "$EXPECTED_REF" >"$REF_FILE"
