#!/usr/bin/env bash
# Ends, with 1, as soon as a pod of ours has ended because its configuration is wrong (exit code 2): no restart mends that,
# and `tilt ci` would otherwise wait for readiness as long as for a slow start. Runs as long as Tilt does.
#
#   tilt/configuration.sh [seconds between two looks]

set -euo pipefail
kubectl=(kubectl --namespace tael)
pause=${1:-2}
# What ended before is not of this start: its pod is about to be replaced, or ends again.
began=$(date -u +%FT%TZ)

# A line per container: pod, container, and exit code and time of the end that it is in (a pod that is restarted after
# pauses shows the last one as `lastState` while it waits).
template='{{range .items}}{{$pod := .metadata.name}}{{range .status.containerStatuses}}{{$name := .name}}{{if not .state.running}}'
template+='{{with .state.terminated}}{{$pod}} {{$name}} {{.exitCode}} {{.finishedAt}}{{"\n"}}{{end}}'
template+='{{with .lastState.terminated}}{{$pod}} {{$name}} {{.exitCode}} {{.finishedAt}}{{"\n"}}{{end}}'
template+='{{end}}{{end}}{{end}}'

while :; do
  # The namespace may not be there yet, and the cluster may be away for a moment.
  ended=$("${kubectl[@]}" get pods --selector app.kubernetes.io/part-of=tael --output go-template="$template" 2>/dev/null || true)
  while read -r pod container code time; do
    if [ "$code" = 2 ] && ! [[ $time < $began ]]; then
      echo "The configuration of $pod is wrong; a restart does not mend it. It says:" >&2
      "${kubectl[@]}" logs "$pod" --container "$container" --previous >&2 2>/dev/null ||
        "${kubectl[@]}" logs "$pod" --container "$container" >&2 || true
      exit 1
    fi
  done <<<"$ended"
  sleep "$pause"
done
