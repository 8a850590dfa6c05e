#!/bin/sh
# Logs of containers through oddline, only what is odd. Lines of several pods are one stream here; where each is to be its own,
# run one a pod, each with a data dir.
#
#   containers.sh docker NAME          containers.sh kubernetes SELECTOR
set -eu
: "${ODDLINE_DATA:=$HOME/.local/share/oddline}"
case $1 in
    docker) logs() { docker logs -f --tail 0 "$1" 2>&1; } ;;
    kubernetes) logs() { kubectl logs -f --tail 0 --prefix --max-log-requests 20 -l "$1"; } ;;
    *) echo "expected docker or kubernetes, found $1" >&2; exit 2 ;;
esac
logs "$2" | oddline score --input lines --only-anomalies --data-dir "$ODDLINE_DATA/$1"
