# The sidecar as a process. What needs a Vector is at the end.
. "$here/common.sh"

sidecar_http() {
    local state=$work/sidecar-state
    serve first --data-dir "$state" || return 1
    events 20000 >"$work/in"
    split -l 1000 "$work/in" "$work/part."
    for part in "$work"/part.*; do post <"$part" || return 1; done >"$work/out"
    [ "$(numbers "$work/out" | paste -sd,)" = "$(seq 0 19999 | paste -sd,)" ] || { echo "events lost or reordered"; return 1; }
    [ "$(grep -c '"anomaly":{"score":' "$work/out")" = 20000 ] || { echo "events without fields"; return 1; }
    echo "$odd_event" | post >"$work/odd" || return 1
    grep -q '"is_anomaly":true' "$work/odd" || { cat "$work/odd"; return 1; }
    kill -TERM "$pid" && wait "$pid"
}

sidecar_restart() {
    serve second --data-dir "$work/sidecar-state" || return 1
    events 1 7 | post >"$work/again" || return 1
    grep -q '"state":"ready"' "$work/again" || { cat "$work/again"; return 1; }
    kill -TERM "$pid" && wait "$pid"
}

sidecar_kill() {
    local state=$work/kill-state rounds=5 round
    for round in $(seq $rounds); do
        serve "kill-$round" --data-dir "$state" || return 1
        events 3000 $((round * 3000)) | post >/dev/null || return 1
        (events 200000 | post >/dev/null 2>&1) &
        sleep 0.3
        kill -9 "$pid"
        wait "$pid" 2>/dev/null
    done
    "$oddline" doctor --data-dir "$state" || return 1
    serve after --data-dir "$state" || return 1
    events 1 | post | grep -q '"n":0' || return 1
    kill -TERM "$pid" && wait "$pid"
}

sidecar_metrics() {
    serve metrics || return 1
    events 10 | post >/dev/null || return 1
    until_true 10 sh -c "curl -s http://$http/metrics | grep -qx 'oddline_events_total 10'" || return 1
    curl -sf "http://$http/ready" && curl -sf "http://$http/health" || return 1
    kill -INT "$pid" && wait "$pid"
}

# A Vector that reads a file, one sidecar, and the same Vector writing what comes back; killed and started again.
sidecar_vector() {
    local dir=$work/vector-run expected=20000
    mkdir -p "$dir/data"
    cat >"$dir/vector.toml" <<CONFIG
data_dir = "$dir/data"
[sources.logs]
type = "file"
include = ["$dir/in.log"]
read_from = "beginning"
[sinks.to_oddline]
type = "vector"
inputs = ["logs"]
address = "127.0.0.1:6100"
acknowledgements.enabled = true
request.concurrency = 1
[sinks.to_oddline.buffer]
type = "disk"
max_size = 268435488
[sources.oddline]
type = "vector"
address = "127.0.0.1:6101"
[sinks.out]
type = "file"
inputs = ["oddline"]
path = "$dir/out.ndjson"
encoding.codec = "json"
acknowledgements.enabled = true
CONFIG
    serve vector --listen 127.0.0.1:6100 --forward http://127.0.0.1:6101 --data-dir "$dir/state" || return 1
    local sidecar=$pid vector
    events $((expected / 2)) >"$dir/in.log"
    "$VECTOR_BIN" --quiet --config "$dir/vector.toml" & vector=$!; started+=($vector)
    sleep 2; kill -9 $vector; wait $vector 2>/dev/null
    events $((expected / 2)) $((expected / 2)) >>"$dir/in.log"
    "$VECTOR_BIN" --quiet --config "$dir/vector.toml" & vector=$!; started+=($vector)
    # At least once: what was under way at the kill may come twice.
    until_true 60 sh -c "[ \$(grep -o '\\\\\"n\\\\\":[0-9]*' $dir/out.ndjson | sort -u | wc -l) = $expected ]" || { wc -l "$dir/out.ndjson"; return 1; }
    kill -HUP $vector; sleep 1; kill -0 $vector || return 1
    kill -TERM $vector "$sidecar"; wait $vector "$sidecar"
    ! grep -vq '"anomaly":{' "$dir/out.ndjson"
}

if ! command -v curl >/dev/null; then
    skip "sidecar: curl is not installed"
elif ! need_oddline; then
    fail "sidecar: oddline does not build"
else
    check "20,000 events over HTTP come back scored, complete and in order, and an odd one is found" sidecar_http
    check "what was learned is there after a restart" sidecar_restart
    check "after five kill -9 under load the data dir is sound and events are scored" sidecar_kill
    check "metrics, health and readiness are served" sidecar_metrics
fi
if [ -z "${VECTOR_BIN:-}" ]; then
    skip "sidecar with Vector: VECTOR_BIN is not set"
else
    for example in "$root"/config-examples/vector/{sidecar-minimal,loki,elasticsearch,route-and-sample,aggregator,journald}.toml; do
        check "vector validate $(basename "$example")" "$VECTOR_BIN" validate --no-environment "$example"
        if grep -q '^\[\[tests\]\]' "$example"; then
            check "vector test $(basename "$example")" "$VECTOR_BIN" test "$example"
        fi
    done
    check "file source, disk buffer, sidecar, file sink: kill -9, restart and reload lose nothing" sidecar_vector
fi
