#!/usr/bin/env bash
# Breaks the next payment: the sandbox takes the money, its notification is lost, and the first query fails. Then journeys
# are played; one of them takes longer, until the payment service has asked again and found out. Its trace shows how.
#
#   tilt/break.sh debug|release

set -euo pipefail
cd "$(dirname "$0")/.."
sandbox=http://127.0.0.1:8090/control/alipay/faults

fault() { curl --fail --silent --show-error --max-time 10 "$sandbox" --data "$1" >/dev/null; }
repair() { curl --fail --silent --show-error --max-time 10 --request DELETE "$sandbox" >/dev/null; }

trap repair EXIT
fault '{"times": 1, "event": "payment", "fault": {"kind": "lose_notification"}}'
fault '{"times": 1, "operation": "alipay.trade.query", "fault": {"kind": "fail_before"}}'
tilt/journey.sh "$@"
