#!/bin/sh
# The first process of an image under Tilt: runs the service, and runs the newer binary that Tilt has put into
# /live-update when it is told so (SIGHUP). Otherwise it is the service: signals go to it, its end is the container's end.

stopping=
renewing=
child=
trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child"' TERM INT
trap 'renewing=1; [ -z "$child" ] || kill -TERM "$child"' HUP

while [ -z "$stopping" ]; do
  service=/opt/tael/service
  if [ -x /live-update/service ]; then service=/live-update/service; fi
  renewing=
  "$service" "$@" &
  child=$!
  # A signal ends `wait` before the child has ended.
  while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
  if [ -z "$renewing" ]; then exit "$code"; fi
done
exit "${code:-0}"
