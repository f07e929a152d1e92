# Starts a sentinel with what it knew, or, the first time, with the first server as the master.

set -eu
umask 077
own=/data/sentinel.conf

if [ ! -f "$own" ]; then
  # A sentinel does not start before it can resolve the master's name.
  until timeout 3 redis-cli -h redis-0.redis -e ping >/dev/null 2>&1; do sleep 1; done
  cp /etc/redis/sentinel.conf "$own.new"
else
  # The password may be another one now, in each of the forms that a sentinel writes it down.
  grep -v -E '^(requirepass|user|sentinel (auth-pass|sentinel-pass|announce-ip)) ' "$own" >"$own.new"
fi
{
  echo "requirepass $REDISCLI_AUTH"
  echo "sentinel auth-pass tael $REDISCLI_AUTH"
  echo "sentinel announce-ip $HOSTNAME.redis-sentinel"
} >>"$own.new"
mv "$own.new" "$own"
exec redis-server "$own" --sentinel
