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

# sidecar_for DIR: a sidecar between the ports that `fit` chose.
sidecar_for() {
    serve "$(basename "$1")" --listen "127.0.0.1:$in_port" --forward "http://127.0.0.1:$out_port" --data-dir "$1/state" "${@:2}" || return 1
    sidecar=$pid
}

example_validate() {
    local dir=$work/validate
    fit "$1" "$dir" || return 1
    if [ "${1##*.}" = yaml ]; then
        # The chart's values hold Vector's configuration under customConfig.
        sed -n '/^customConfig:/,$p' "$fitted" | sed -e 1d -e 's/^  //' >"$dir/custom.yaml"
        fitted=$dir/custom.yaml
    fi
    "$VECTOR_BIN" validate --no-environment "$fitted" || return 1
    if grep -q '^\[\[tests\]\]' "$fitted"; then "$VECTOR_BIN" test "$fitted" || return 1; fi
}

# Files in, the odd lines out.
example_minimal() {
    local dir=$work/minimal
    fit sidecar-minimal.toml "$dir" && sidecar_for "$dir" || return 1
    run_vector "$VECTOR_BIN" "$fitted" "$dir/out"
    sleep 2
    { lines 12000; echo "$odd_line"; } >"$dir/logs/in.log"
    until_true 60 grep -q 'pool exhausted' "$dir/out" || { tail -3 "$dir/out"; return 1; }
    end $vector && end "$sidecar"
    grep -q 'pool exhausted.*' "$dir/out" && [ "$(wc -l <"$dir/out")" -le 24 ] || { wc -l "$dir/out"; return 1; }
}

# Alerts to whoever listens, the odd in full to the archive, of the routine one in a hundred.
example_route() {
    local dir=$work/route alerts
    fit route-and-sample.toml "$dir" && sidecar_for "$dir" || return 1
    alerts=$(free_port)
    sed -i "s|127.0.0.1:9093|127.0.0.1:$alerts|" "$fitted"
    mkdir -p "$dir/catcher"
    cat >"$dir/catcher.toml" <<CONFIG
data_dir = "$dir/catcher"
[sources.alerts]
type = "http_server"
address = "127.0.0.1:$alerts"
path = "/events"
decoding.codec = "json"
[sinks.out]
type = "file"
inputs = ["alerts"]
path = "$dir/alerts.ndjson"
encoding.codec = "json"
CONFIG
    run_vector "$VECTOR_BIN" "$dir/catcher.toml" "$dir/log"; local catcher=$vector
    run_vector "$VECTOR_BIN" "$fitted" "$dir/log"
    sleep 2
    { lines 12000; echo "$odd_line"; echo "$odd_line"; } >"$dir/logs/in.log"
    until_true 60 grep -q 'pool exhausted' "$dir/alerts.ndjson" || { tail -3 "$dir/log"; return 1; }
    until_true 60 sh -c "[ \$(cat '$dir'/archive/*.ndjson | grep -c 'pool exhausted') = 2 ]" || { echo "the repeat is not archived"; return 1; }
    end $vector "$catcher" && end "$sidecar"
    local kept; kept=$(cat "$dir"/archive/*.ndjson | wc -l)
    [ "$kept" -ge 60 ] && [ "$kept" -le 400 ] || { echo "$kept of 12,002 were kept"; return 1; }
}

# Agents push with certificates; the archive has a file a host.
example_aggregator() {
    local dir=$work/aggregator tls=$root/tests/serve_support/tls agents
    fit aggregator.toml "$dir" && sidecar_for "$dir" --partition-by host || return 1
    agents=$(free_port)
    sed -i -e "s|0.0.0.0:6000|127.0.0.1:$agents|" -e "s|/etc/vector/ca.pem|$tls/ca.pem|" \
        -e "s|/etc/vector/aggregator.pem|$tls/server.pem|" -e "s|/etc/vector/aggregator.key|$tls/server.key|" "$fitted"
    mkdir -p "$dir/agent"
    cat >"$dir/agent.toml" <<CONFIG
$(file_source "$dir" "$dir/agent")
[sinks.up]
type = "vector"
inputs = ["logs"]
address = "https://localhost:$agents"
acknowledgements.enabled = true
[sinks.up.tls]
enabled = true
ca_file = "$tls/ca.pem"
crt_file = "$tls/client.pem"
key_file = "$tls/client.key"
CONFIG
    lines 5000 >"$dir/logs/in.log"
    run_vector "$VECTOR_BIN" "$fitted" "$dir/log"; local aggregator=$vector
    run_vector "$VECTOR_BIN" "$dir/agent.toml" "$dir/log"
    until_true 60 has_lines 5000 "$dir/archive/*.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $vector && end "$aggregator" && end "$sidecar"
    ls "$dir"/archive | grep -q "^$(hostname)-"
}

example_journald() {
    local dir=$work/journald
    fit journald.toml "$dir" && sidecar_for "$dir" --config "$root/config-examples/vector/oddline-journald.toml" || return 1
    run_vector "$VECTOR_BIN" "$fitted" "$dir/log"
    lines 2000 | journal >>"$dir/logs/journal"
    until_true 60 has_lines 2000 "$dir/archive/*.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $vector && end "$sidecar"
    grep -v '"anomaly":{' "$dir"/archive/*.ndjson | grep . && return 1
    grep -q '"level":"info"' "$dir"/archive/*.ndjson
}

# A Vector that reads a file, one sidecar, and the same Vector writing what comes back; killed and started again.
sidecar_vector() {
    local dir=$work/vector-run
    fit sidecar-minimal.toml "$dir" || return 1
    cat >"$dir/vector.toml" <<CONFIG
$(file_source "$dir" "$dir/data")
[sinks.to_oddline]
type = "vector"
inputs = ["logs"]
address = "127.0.0.1:$in_port"
acknowledgements.enabled = true
request.concurrency = 1
[sinks.to_oddline.buffer]
type = "disk"
max_size = 268435488
[sources.oddline]
type = "vector"
address = "127.0.0.1:$out_port"
[sinks.out]
type = "file"
inputs = ["oddline"]
path = "$dir/out.ndjson"
encoding.codec = "json"
acknowledgements.enabled = true
CONFIG
    sidecar_for "$dir" || return 1
    lines 10000 >"$dir/logs/in.log"
    run_vector "$VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    sleep 2; kill -9 $vector; wait $vector 2>/dev/null
    lines 10000 10000 >>"$dir/logs/in.log"
    run_vector "$VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    # At least once: what was under way at the kill may come twice.
    until_true 60 has_lines 20000 "$dir/out.ndjson" || { wc -l "$dir/out.ndjson"; tail -3 "$dir/log"; return 1; }
    # The sidecar is killed under load: what it had not answered is sent again.
    (for n in $(seq 20000 500 24500); do lines 500 "$n" >>"$dir/logs/in.log"; sleep 0.1; done) & local writer=$!
    sleep 0.5; kill -9 "$sidecar"; wait "$sidecar" 2>/dev/null
    sidecar_for "$dir" || return 1
    wait $writer
    until_true 60 has_lines 25000 "$dir/out.ndjson" || { wc -l "$dir/out.ndjson"; tail -3 "$dir/log"; return 1; }
    kill -HUP $vector; sleep 1; kill -0 $vector || return 1
    end $vector && end "$sidecar"
    ! grep -v '"anomaly":{' "$dir/out.ndjson" | grep .
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
    for example in {sidecar-minimal,loki,elasticsearch,route-and-sample,aggregator,journald}.toml kubernetes-values.yaml; do
        check "validate and test $example" example_validate $example
    done
    check "sidecar-minimal.toml: files in, the odd lines out" example_minimal
    check "route-and-sample.toml: alerts, repeats and one routine event in a hundred" example_route
    check "aggregator.toml: agents with certificates, a file a host" example_aggregator
    check "journald.toml: priorities become levels, every event scored" example_journald
    check "file source, disk buffer, sidecar, file sink: kill -9 of either, restart and reload lose nothing" sidecar_vector
fi
