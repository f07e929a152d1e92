# Starts this server as what the sentinels say that it is.

set -eu
self="$HOSTNAME.redis"

# The master's name, or nothing: an error reply (a sentinel that has another password already) is none.
master() {
  timeout 3 redis-cli -h redis-sentinel -p 26379 -e sentinel get-master-addr-by-name tael 2>/dev/null |
    grep -m 1 -x -E 'redis-[0-9]+\.redis(\..*)?'
}

# When everything is new, there are no sentinels yet, and the first server is the master. A server with data waits for them:
# another may have become the master since.
tries=1
if [ -d /data/appendonlydir ]; then tries=30; fi
found=
while [ -z "$found" ] && [ "$tries" -gt 0 ]; do
  found=$(master) || found=
  tries=$((tries - 1))
  if [ -z "$found" ] && [ "$tries" -gt 0 ]; then sleep 1; fi
done
found=${found:-redis-0.redis}

umask 077
{
  cat /etc/redis/redis.conf
  echo "requirepass $REDISCLI_AUTH"
  echo "masterauth $REDISCLI_AUTH"
  echo "replica-announce-ip $self"
  if [ "$found" != "$self" ]; then echo "replicaof $found 6379"; fi
} >/run/redis/redis.conf
exec redis-server /run/redis/redis.conf
