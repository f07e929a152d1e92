#!/usr/bin/env bash
# Private PostgreSQL and Redis for local running and tests: on free ports, in a folder of their own, apart from any
# server of the system. Works on Debian, Ubuntu and macOS, as root and as an ordinary user, with bash 3.2 or later.
#
#   scripts/local.sh install                       install PostgreSQL and Redis where they are missing
#   scripts/local.sh start [--disposable] DIR      start both below DIR (keeping data from before); write DIR/env
#   scripts/local.sh stop DIR                      stop both; the data stays
#   scripts/local.sh crash DIR SERVER              end `postgres` or `redis` of DIR as a crash would; `start` brings it
#                                                  back at its port
#   scripts/local.sh freeze DIR                    let Redis of DIR hang: connections open, nothing answered
#   scripts/local.sh thaw DIR                      let it go on
#   scripts/local.sh with [--keep] [--disposable] DIR -- COMMAND...
#                                                  start both, run COMMAND with their addresses, stop both. The data
#                                                  is fresh and thrown away afterwards, unless --keep is given
#
# Other users of the machine get at nothing: both servers want a password, also from this machine, and the files and folders
# are closed to others, DIR/env, which has the passwords, among them. No password is in an argument, where `ps` would show it.
#
# --disposable lets PostgreSQL skip flushing to disk: right for tests, wrong for anything measured or kept.
# Whichever of TAEL_DATABASE_URL and TAEL_REDIS_URL is set already is used as it is, and that server is not started.

set -euo pipefail

readonly PATIENCE_SECONDS=60
# For what is made here; a command that is run gets back what it would have had.
their_umask=$(umask)
readonly their_umask
umask 077

# A bare `return` inside a trap gives the status from before the trap; hence `return 0` throughout.

die() {
  echo "local.sh: $*" >&2
  exit 1
}

# --- Finding and installing -------------------------------------------------------------------------------------

# Prints the folder that holds PostgreSQL's server programs; fails when there is none. Debian keeps them off the PATH.
postgres_bin() {
  local candidates dir
  candidates=$(
    if command -v initdb; then :; fi | sed 's|/initdb$||'
    if command -v pg_config >/dev/null; then pg_config --bindir; fi
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV
    printf '%s\n' /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin | sort -r
  )
  while IFS= read -r dir; do
    if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] && [ -x "$dir/postgres" ]; then
      echo "$dir"
      return 0
    fi
  done <<<"$candidates"
  return 1
}

has_redis() {
  command -v redis-server >/dev/null && command -v redis-cli >/dev/null
}

# Installs packages by name with the privileges that takes.
apt_install() {
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "missing packages; run as root: apt-get install $*"
    as_root=(sudo)
  fi
  # ${x[@]+...}: bash before 4.4 takes an empty array for an unset variable.
  ${as_root[@]+"${as_root[@]}"} apt-get update -q
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "$@"
}

install_missing() {
  local apt=() brew=()
  if [ -z "${TAEL_DATABASE_URL:-}" ] && ! postgres_bin >/dev/null; then
    apt+=(postgresql)
    brew+=(postgresql@17)
  fi
  if [ -z "${TAEL_REDIS_URL:-}" ] && ! has_redis; then
    apt+=(redis-server)
    brew+=(redis)
  fi
  if [ ${#apt[@]} = 0 ]; then
    return 0
  fi
  echo "local.sh: installing ${apt[*]}" >&2
  if command -v apt-get >/dev/null; then
    apt_install "${apt[@]}" >&2
  elif command -v brew >/dev/null; then
    brew install "${brew[@]}" >&2
  else
    die "no apt-get and no brew here; please install PostgreSQL (13 or later) and Redis (6 or later) yourself"
  fi
}

# --- Small parts ------------------------------------------------------------------------------------------------

# Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 on macOS). Whether the port is
# free is found out by the server that binds it; the caller tries again with another one when it is not.
some_port() {
  echo $((20000 + RANDOM % 10000))
}

# Prints the port to try: at first the one that the server had before, so that its clients find it again.
port_of() {
  local home=$1 attempt=$2
  if [ "$attempt" = 1 ] && [ -s "$home/port" ]; then
    cat "$home/port"
  else
    some_port
  fi
}

# A password that nobody guesses, of letters and digits, which need no quoting in addresses, SQL and configuration files.
new_password() {
  od -An -v -tx1 -N 24 /dev/urandom | tr -d ' \n'
}

# Whether a process, of whichever user, exists and has not ended. (In a container whose first process collects none, an
# ended process stays in the table.)
is_alive() {
  if [ -r "/proc/$1/status" ]; then
    grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null
  else
    kill -0 "$1" 2>/dev/null
  fi
}

# Runs a command as the user who owns the PostgreSQL data. PostgreSQL refuses to run as root, so that for root this is
# the `postgres` user whom the packages create.
as_owner() {
  (
    cd / # the other user may not be allowed to see the current folder
    if [ "$(id -u)" != 0 ]; then
      exec "$@"
    elif command -v setpriv >/dev/null; then
      HOME=/ exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    elif command -v runuser >/dev/null; then
      HOME=/ exec runuser -u postgres -- "$@"
    else
      HOME=/ exec su postgres -s /bin/sh -c 'exec "$@"' -- sh "$@"
    fi
  )
}

# --- PostgreSQL: DIR/postgres/{data,access,password,log,port} ---------------------------------------------------------------------

# Makes DIR/postgres a folder that its owner can reach. Below a folder closed to other users (root's home, say) the
# `postgres` user cannot; then DIR/postgres is a link to a folder in /tmp.
postgres_home() {
  local home=$1/postgres elsewhere
  if [ -L "$home" ] && [ ! -d "$home" ]; then
    rm "$home" # the folder in /tmp is gone, for example after a restart of the machine
  fi
  mkdir -p "$home"
  if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || die "PostgreSQL refuses to run as root, and there is no user postgres"
    chown postgres "$(cd "$home" && pwd -P)"
    if ! as_owner test -w "$(cd "$home" && pwd -P)"; then
      rm -rf "$home"
      elsewhere=$(mktemp -d /tmp/tael-postgres.XXXXXXXX)
      chown postgres "$elsewhere"
      ln -s "$elsewhere" "$home"
    fi
  fi
  (cd "$home" && pwd -P)
}

# Writes what it reads into a file of the data's owner, which nobody else may read, in one step.
as_owner_write() {
  as_owner sh -c 'umask 077 && cat >"$1.new" && mv "$1.new" "$1"' sh "$1"
}

# Gives the superuser the password $2, in data of a stopped server that had none: those of a release that let every local
# user in. A server of its own in a single process, which listens nowhere, takes the statement.
set_password() {
  local bin=$1 home=$2 password=$3 output
  output=$(echo "alter role tael password '$password'" |
    as_owner "$bin/postgres" --single -D "$home/data" -c log_min_messages=error postgres 2>&1) &&
    ! grep -q 'ERROR\|FATAL' <<<"$output" || die "the data in $home can't be given a password: $output"
}

# Whether the server of this folder runs: the process that its pid file names is alive, and has the file's folder as
# its data folder. After a crash the file remains, and its number may have become that of any other process.
postgres_runs() {
  local home=$1 pid
  pid=$(as_owner head -n 1 "$home/data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] && is_alive "$pid" &&
    { [ ! -r "/proc/$pid/cmdline" ] || tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF "$home/data"; }
}

start_postgres() {
  local dir=$1 disposable=$2 bin home port output attempt password
  bin=$(postgres_bin) || die "PostgreSQL's server programs are not installed; try: scripts/local.sh install"
  home=$(postgres_home "$dir")
  as_owner chmod 700 "$home"

  if [ -f "$home/data/PG_VERSION" ]; then
    if postgres_runs "$home"; then
      if as_owner test -s "$home/password"; then
        return 0
      fi
      stop_postgres "$dir" # one that lets everybody in
    fi
    [ "$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" = "$(cat "$home/data/PG_VERSION")" ] ||
      die "$dir holds data of another PostgreSQL version; remove that folder, or install that version"
  else
    # UTF-8 keeps text of every language; the C locale sorts and compares alike on every machine. The cluster is moved
    # into place when complete, so that an interrupted run leaves no half of one.
    as_owner rm -rf "$home/data" "$home/data.new"
    new_password | as_owner_write "$home/password"
    output=$(as_owner "$bin/initdb" --pgdata="$home/data.new" --username=tael --auth=scram-sha-256 \
      --pwfile="$home/password" --encoding=UTF8 --locale=C --no-sync 2>&1) || die "initdb failed: $output"
    as_owner mv "$home/data.new" "$home/data"
  fi
  if ! as_owner test -s "$home/password"; then
    as_owner rm -f "$home/data/postmaster.pid" # it does not run, and single-user mode believes the file
    password=$(new_password)
    set_password "$bin" "$home" "$password"
    echo "$password" | as_owner_write "$home/password"
  fi
  # Every role by its password, and the loopback alone.
  echo 'host all all 127.0.0.1/32 scram-sha-256' | as_owner_write "$home/access"

  # TCP on the loopback only; no unix socket, whose path may not be longer than about a hundred characters.
  local options="-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c timezone=UTC"
  options="$options -c password_encryption=scram-sha-256 -c hba_file='$home/access'"
  if [ "$disposable" = yes ]; then
    options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
  fi
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    port=$(port_of "$home" "$attempt")
    as_owner rm -f "$home/log"
    # pg_ctl waits until the server it has started, and no other, accepts connections.
    if as_owner "$bin/pg_ctl" start --wait --timeout="$PATIENCE_SECONDS" --silent --pgdata="$home/data" \
      --log="$home/log" --options="$options -p $port" </dev/null >/dev/null 2>&1; then
      echo "$port" | as_owner_write "$home/port"
      return 0
    fi
    if grep -q 'lock file .* already exists' "$home/log" && ! postgres_runs "$home"; then
      as_owner rm -f "$home/data/postmaster.pid"
    elif grep -q 'pre-existing shared memory block' "$home/log"; then
      sleep 0.5 # the last processes of a killed server are still ending
    else
      grep -q 'could not bind\|could not create any TCP/IP sockets' "$home/log" || break
    fi
  done
  tail -n 20 "$home/log" >&2
  die "PostgreSQL does not start (attempt $attempt); its log is $home/log"
}

stop_postgres() {
  local dir=$1 bin home
  [ -d "$dir/postgres" ] || return 0
  home=$(cd "$dir/postgres" && pwd -P)
  if postgres_runs "$home"; then
    bin=$(postgres_bin)
    as_owner "$bin/pg_ctl" stop --wait --timeout="$PATIENCE_SECONDS" --silent --mode=fast --pgdata="$home/data" ||
      as_owner "$bin/pg_ctl" stop --wait --silent --mode=immediate --pgdata="$home/data"
  fi
}

# Ends the server without a checkpoint, as a crash does: what it had not flushed is lost, and its next start recovers.
crash_postgres() {
  local dir=$1 bin home
  home=$(cd "$dir/postgres" && pwd -P)
  bin=$(postgres_bin)
  as_owner "$bin/pg_ctl" stop --wait --timeout="$PATIENCE_SECONDS" --silent --mode=immediate --pgdata="$home/data"
}

# --- Redis: DIR/redis/{pid,port,log,password,conf} ------------------------------------------------------------------------------

# Asks the Redis of this folder. The password is in the environment, which other users can't read.
ask_redis() {
  local home=$1/redis
  shift
  REDISCLI_AUTH=$(cat "$home/password") redis-cli --no-auth-warning -h 127.0.0.1 -p "$(cat "$home/port")" "$@"
}

# Whether the Redis that answers on the recorded port is the process that was started for this folder.
redis_runs() {
  local home=$1/redis
  [ -s "$home/pid" ] && [ -s "$home/port" ] && [ -s "$home/password" ] &&
    ask_redis "$1" info server 2>/dev/null |
    tr -d '\r' | grep -qx "process_id:$(cat "$home/pid")"
}

start_redis() {
  local dir=$1 home=$1/redis port attempt waited
  has_redis || die "redis-server is not installed; try: scripts/local.sh install"
  if redis_runs "$dir"; then
    return 0
  fi
  if [ ! -s "$home/password" ] && [ -s "$home/pid" ] && redis-cli -h 127.0.0.1 -p "$(cat "$home/port")" info server \
    2>/dev/null | tr -d '\r' | grep -qx "process_id:$(cat "$home/pid")"; then
    crash_redis "$dir" # of a release that let everybody in; it keeps nothing
  fi
  mkdir -p "$home"
  chmod 700 "$home"
  # Kept over a restart, as the port is, for those who know the address.
  [ -s "$home/password" ] || new_password >"$home/password"
  echo "requirepass $(cat "$home/password")" >"$home/conf"
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    port=$(port_of "$home" "$attempt")
    echo "$port" >"$home/port"
    # Job control puts the server into a process group of its own, which an interrupt from the terminal does not reach.
    set -m
    redis-server "$home/conf" --bind 127.0.0.1 --port "$(cat "$home/port")" --dir "$home" --save '' --appendonly no \
      </dev/null >"$home/log" 2>&1 &
    echo $! >"$home/pid"
    set +m
    waited=0
    while is_alive "$(cat "$home/pid")"; do
      if redis_runs "$dir"; then
        disown
        return 0
      fi
      waited=$((waited + 1))
      [ $waited -lt $((PATIENCE_SECONDS * 20)) ] || die "Redis does not answer; its log is $home/log"
      sleep 0.05
    done
    wait "$(cat "$home/pid")" || true
    grep -q 'Failed listening\|Could not create server TCP' "$home/log" || break
  done
  tail -n 20 "$home/log" >&2
  die "Redis does not start (attempt $attempt); its log is $home/log"
}

stop_redis() {
  local dir=$1 pid waited=0
  if [ -s "$dir/redis/pid" ]; then
    kill -CONT "$(cat "$dir/redis/pid")" 2>/dev/null || true # frozen, it would not even say that it runs
  fi
  if has_redis && redis_runs "$dir"; then
    pid=$(cat "$dir/redis/pid")
    ask_redis "$dir" shutdown nosave >/dev/null 2>&1 || true
    while is_alive "$pid" && [ $waited -lt $((PATIENCE_SECONDS * 20)) ]; do
      waited=$((waited + 1))
      sleep 0.05
    done
  fi
  rm -f "$dir/redis/pid" "$dir/redis/port"
}

crash_redis() {
  local dir=$1 pid
  pid=$(cat "$dir/redis/pid")
  kill -KILL "$pid"
  while is_alive "$pid"; do sleep 0.02; done
}

# --- Both -----------------------------------------------------------------------------------------------------

start() {
  local dir=$1 disposable=$2 database redis password
  if [ -z "${TAEL_DATABASE_URL:-}" ]; then
    start_postgres "$dir" "$disposable"
    password=$(as_owner cat "$(cd "$dir/postgres" && pwd -P)/password")
    database="postgres://tael:$password@127.0.0.1:$(cat "$dir/postgres/port")/postgres"
  fi
  if [ -z "${TAEL_REDIS_URL:-}" ]; then
    start_redis "$dir"
    redis="redis://:$(cat "$dir/redis/password")@127.0.0.1:$(cat "$dir/redis/port")"
  fi
  printf 'export TAEL_DATABASE_URL=%q\nexport TAEL_REDIS_URL=%q\n' \
    "${TAEL_DATABASE_URL:-${database:-}}" "${TAEL_REDIS_URL:-${redis:-}}" >"$dir/env.new"
  mv "$dir/env.new" "$dir/env" # one that was there, and its mode, is not written into
}

stop() {
  local dir=$1
  stop_redis "$dir"
  stop_postgres "$dir"
  rm -f "$dir/env"
}

# Removes the data of stopped servers and leaves their logs.
discard() {
  local dir=$1
  if [ -d "$dir/postgres" ]; then
    rm -rf "$(cd "$dir/postgres" && pwd -P)/data"
  fi
}

# One `with` at a time for a folder. A lock left by a killed run is taken over.
lock() {
  local dir=$1 owner
  if ! (set -C && echo $$ >"$dir/lock") 2>/dev/null; then
    owner=$(cat "$dir/lock" 2>/dev/null || true)
    if [ -n "$owner" ] && is_alive "$owner" &&
      { [ ! -r "/proc/$owner/cmdline" ] || grep -q 'local\.sh' "/proc/$owner/cmdline"; }; then
      die "$dir is in use by process $owner"
    fi
    echo $$ >"$dir/lock"
  fi
}

with() {
  local dir=$1 keep=$2 disposable=$3
  shift 3
  local child='' status=0
  lock "$dir"
  # shellcheck disable=SC2317,SC2329  # reached through the trap
  finish() {
    trap '' INT TERM HUP
    stop "$dir"
    [ "$keep" = yes ] || discard "$dir"
    rm -f "$dir/lock"
  }
  trap finish EXIT
  # A signal ends the command in its own way, and the servers are stopped after it. At a terminal an interrupt reaches
  # the command by itself; elsewhere it is passed on to all its processes, which are a group then.
  local signal target=- terminal=no
  if [ -t 0 ]; then
    terminal=yes
    target=''
  fi
  for signal in INT TERM HUP; do
    # shellcheck disable=SC2064  # the names are wanted as they are now
    trap "pass_on $signal $terminal" "$signal"
  done
  # shellcheck disable=SC2317,SC2329  # reached through the trap
  pass_on() {
    [ -n "$child" ] || exit 130
    [ "$*" = 'INT yes' ] || kill "-$1" -- "$target$child" 2>/dev/null || true
  }

  stop "$dir" # whatever a killed run may have left running
  [ "$keep" = yes ] || discard "$dir"
  start "$dir" "$disposable"
  # shellcheck disable=SC1091  # written by start
  . "$dir/env"

  if [ $terminal = yes ]; then
    # In our process group, so that it may use the terminal. Bash lets background commands ignore interrupts.
    (trap - INT QUIT && umask "$their_umask" && exec "$@") <&0 &
    child=$!
  else
    set -m
    (umask "$their_umask" && exec "$@") <&0 &
    child=$!
    set +m
  fi
  while true; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break # a signal ends `wait`, too, while the command still runs
  done
  exit "$status"
}

main() {
  local command=${1:-} keep=no disposable=no
  [ $# = 0 ] || shift
  while true; do
    case ${1:-} in
    --keep) keep=yes ;;
    --disposable) disposable=yes ;;
    *) break ;;
    esac
    shift
  done

  local dir=${1:-} bin
  case $command in
  start | stop | with | crash | freeze | thaw)
    [ -n "$dir" ] || die "which folder? usage: scripts/local.sh $command DIR"
    shift
    (umask "$their_umask" && mkdir -p "$dir") && [ -w "$dir" ] || die "cannot write to $dir; did another user leave it?"
    dir=$(cd "$dir" && pwd -P)
    # As root, PostgreSQL runs as another user, who passes through here and sees nothing.
    if [ "$(id -u)" = 0 ]; then chmod 711 "$dir"; else chmod 700 "$dir"; fi
    ;;
  esac
  case $command in
  install) install_missing ;;
  start)
    start "$dir" "$disposable"
    cat "$dir/env"
    ;;
  stop) stop "$dir" ;;
  crash)
    case ${1:-} in
    postgres) crash_postgres "$dir" ;;
    redis) crash_redis "$dir" ;;
    *) die "which server? usage: scripts/local.sh crash DIR postgres|redis" ;;
    esac
    ;;
  freeze) kill -STOP "$(cat "$dir/redis/pid")" ;;
  thaw) kill -CONT "$(cat "$dir/redis/pid")" ;;
  with)
    [ "${1:-}" = -- ] && [ $# -ge 2 ] || die "usage: scripts/local.sh with [--keep] [--disposable] DIR -- COMMAND..."
    shift
    if [ -n "${TAEL_DATABASE_URL:-}" ] && [ -n "${TAEL_REDIS_URL:-}" ]; then
      umask "$their_umask"
      exec "$@"
    fi
    # Homebrew keeps psql off the PATH.
    if [ -z "${TAEL_DATABASE_URL:-}" ] && bin=$(postgres_bin); then PATH=$PATH:$bin; fi
    with "$dir" "$keep" "$disposable" "$@"
    ;;
  *)
    sed -n '/^#   scripts/,/^# Whichever/p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
    ;;
  esac
}

main "$@"
