# The native component: a Vector with oddline in it.
. "$here/common.sh"

native_examples=(native-minimal native-route-and-sample native-sink)

# Checking and testing leave no trace where the running Vector keeps what it learned.
native_validate() {
    local dir=$work/native-validate
    fit "$1.toml" "$dir" || return 1
    "$ODDLINE_VECTOR_BIN" validate --skip-healthchecks "$fitted" || return 1
    if grep -q '^\[\[tests\]\]' "$fitted"; then "$ODDLINE_VECTOR_BIN" test "$fitted" || return 1; fi
    find "$dir/data" -mindepth 1 | grep -v "^$dir/data/logs" | grep . && { echo "the data dir was touched"; return 1; }
    rm -rf "$dir"
}

native_refuses() {
    local dir=$work/native-refuses
    fit native-minimal.toml "$dir" || return 1
    sed 's/^partition_by = .*/alert_bugdet = 0.1/' "$fitted" >"$dir/unknown.toml"
    sed 's/^partition_by = .*/alert_budget = 7/' "$fitted" >"$dir/bounds.toml"
    "$ODDLINE_VECTOR_BIN" validate --no-environment "$dir/unknown.toml" >"$dir/told" 2>&1 && { echo "an unknown key is accepted"; return 1; }
    grep -q 'unknown field `alert_bugdet`' "$dir/told" || { cat "$dir/told"; return 1; }
    "$ODDLINE_VECTOR_BIN" validate --no-environment "$dir/bounds.toml" >"$dir/told" 2>&1 && { echo "a wrong value is accepted"; return 1; }
    grep -q 'from 0.000001 to 0.1' "$dir/told" || { cat "$dir/told"; return 1; }
    "$ODDLINE_VECTOR_BIN" list >"$dir/list" && grep -q score_anomalies "$dir/list" && grep -q oddline "$dir/list" || { cat "$dir/list"; return 1; }
    "$ODDLINE_VECTOR_BIN" generate /score_anomalies >"$dir/generated" && grep -q alert_budget "$dir/generated" || { cat "$dir/generated"; return 1; }
    "$ODDLINE_VECTOR_BIN" generate-schema >"$dir/schema" 2>&1 && grep -q 'How much may be called an anomaly' "$dir/schema" || { tail -3 "$dir/schema"; return 1; }
}

# native_config DIR [OPTION…]: a file in, a file out, the transform between them.
native_config() {
    local dir=$1; shift
    mkdir -p "$dir/data" "$dir/logs"
    cat >"$dir/vector.toml" <<CONFIG
$(file_source "$dir" "$dir/data")
[transforms.score]
type = "score_anomalies"
inputs = ["logs"]
$(printf '%s\n' "$@")
[sinks.out]
type = "file"
inputs = ["score"]
path = "$dir/out.ndjson"
encoding.codec = "json"
acknowledgements.enabled = true
[sinks.out.buffer]
type = "disk"
max_size = 268435488
CONFIG
}

native_order() {
    local dir=$work/native-order
    native_config "$dir"
    cat >"$dir/stdin.toml" <<CONFIG
data_dir = "$dir/data"
[sources.logs]
type = "stdin"
decoding.codec = "json"
[transforms.score]
type = "score_anomalies"
inputs = ["logs"]
[sinks.out]
type = "console"
inputs = ["score"]
encoding.codec = "json"
CONFIG
    { events 20000; echo "$odd_event"; } | timeout 120 "$ODDLINE_VECTOR_BIN" --quiet --config "$dir/stdin.toml" >"$dir/out" || return 1
    [ "$(grep -c '"anomaly":{' "$dir/out")" = 20001 ] || { wc -l "$dir/out"; return 1; }
    [ "$(grep -oE '"n":-?[0-9]+' "$dir/out" | cut -d: -f2 | paste -sd,)" = "$(seq 0 19999 | paste -sd,),-1" ] || { echo "lost or reordered"; return 1; }
    tail -1 "$dir/out" | grep -q '"is_anomaly":true' || { tail -1 "$dir/out"; return 1; }
    # Again: what was learned is there.
    events 1 7 | timeout 120 "$ODDLINE_VECTOR_BIN" --quiet --config "$dir/stdin.toml" | grep -q '"state":"ready"'
}

# Killed under load, again and again: every line comes out, and what was learned stays sound.
native_kill() {
    local dir=$work/native-kill round
    native_config "$dir"
    for round in 0 1 2 3; do
        lines 5000 $((round * 5000)) >>"$dir/logs/in.log"
        run_vector "$ODDLINE_VECTOR_BIN" "$dir/vector.toml" "$dir/log"
        sleep 1.5
        [ $round = 3 ] || { kill -9 $vector; wait $vector 2>/dev/null; }
    done
    until_true 60 has_lines 20000 "$dir/out.ndjson" || { wc -l "$dir/out.ndjson"; tail -3 "$dir/log"; return 1; }
    end $vector
    grep -v '"anomaly":{' "$dir/out.ndjson" | grep . && { echo "an event without fields"; return 1; }
    tail -1 "$dir/out.ndjson" | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
    "$oddline" doctor --data-dir "$dir/data/score"
}

# SIGHUP with other options, while lines come and while none do, and with options that cannot be built.
native_reload() {
    local dir=$work/native-reload
    native_config "$dir" 'learning_events = 1000'
    run_vector "$ODDLINE_VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    lines 3000 >"$dir/logs/in.log"
    until_true 60 has_lines 3000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    native_config "$dir" 'learning_events = 1000' 'fields = "full"'
    (for n in $(seq 3000 100 5900); do lines 100 "$n" >>"$dir/logs/in.log"; sleep 0.05; done) & local writer=$!
    sleep 0.3; kill -HUP $vector; wait $writer
    until_true 60 has_lines 6000 "$dir/out.ndjson" || { wc -l "$dir/out.ndjson"; tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep '"detectors"' | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
    # Nothing comes, and the options change back: the next line has the new ones and the old knowledge.
    native_config "$dir" 'learning_events = 1000' 'fields = "minimal"' 'template_field = "template"'
    kill -HUP $vector; sleep 2
    lines 1 6000 >>"$dir/logs/in.log"
    until_true 60 has_lines 6001 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep '"template":"' | grep -vq '"detectors"' || { tail -1 "$dir/out.ndjson"; return 1; }
    native_config "$dir" 'alert_budget = 7'
    kill -HUP $vector; sleep 2
    lines 1 6001 >>"$dir/logs/in.log"
    until_true 60 has_lines 6002 "$dir/out.ndjson" || { echo "a failed reload stopped it"; tail -3 "$dir/log"; return 1; }
    native_config "$dir" 'learning_events = 1000'
    kill -HUP $vector; sleep 2
    lines 1 6002 >>"$dir/logs/in.log"
    until_true 60 has_lines 6003 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
    end $vector
    in_order "$dir/out.ndjson" 6003 || { echo "lost, doubled or reordered"; return 1; }
}

# A Vector whose data dir another process holds: events pass, the trouble is counted, and once it is free scoring begins.
native_degraded() {
    local dir=$work/native-degraded
    native_config "$dir" "data_dir = \"$dir/held\""
    cat >>"$dir/vector.toml" <<CONFIG
[sources.metrics]
type = "internal_metrics"
scrape_interval_secs = 1
[sinks.figures]
type = "file"
inputs = ["metrics"]
path = "$dir/metrics.ndjson"
encoding.codec = "json"
CONFIG
    serve holder --data-dir "$dir/held" || return 1
    local holder=$pid
    run_vector "$ODDLINE_VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    lines 100 >"$dir/logs/in.log"
    until_true 60 has_lines 100 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep -q '"state":"degraded"' || { tail -1 "$dir/out.ndjson"; return 1; }
    until_true 20 grep -q '"name":"component_errors_total".*"component_id":"score"' "$dir/metrics.ndjson" || { echo "no component_errors_total"; return 1; }
    until_true 20 grep -q '"name":"oddline_events_total".*"component_id":"score"' "$dir/metrics.ndjson" || { echo "no oddline_events_total"; return 1; }
    end "$holder"
    sleep 11
    lines 1 100 >>"$dir/logs/in.log"
    until_true 60 has_lines 101 "$dir/out.ndjson" || return 1
    tail -1 "$dir/out.ndjson" | grep -q '"state":"learning"' || { tail -1 "$dir/out.ndjson"; return 1; }
    end $vector
}

# What is no log event with a message passes; nothing takes Vector down.
native_hostile() {
    local dir=$work/native-hostile
    mkdir -p "$dir/data"
    cat >"$dir/vector.toml" <<CONFIG
data_dir = "$dir/data"
[sources.logs]
type = "stdin"
decoding.codec = "json"
max_length = 4194304
[sources.numbers]
type = "static_metrics"
interval_secs = 1
metrics = [{ name = "answer", kind = "absolute", value = { counter = { value = 42 } }, tags = {} }]
[transforms.score]
type = "score_anomalies"
inputs = ["logs", "numbers"]
on_existing = "rename"
[sinks.out]
type = "file"
inputs = ["score"]
path = "$dir/out.ndjson"
encoding.codec = "json"
CONFIG
    {
        echo '{"n":1}'; echo '{"n":2,"message":{"a":{"b":1}}}'; echo '{"n":3,"message":17}'; echo '{"n":4,"message":null}'
        echo '{"n":5,"message":["a"]}'; echo '{"n":6,"message":"a","anomaly":"mine"}'; printf '{"n":7,"message":"\\u0000\\ud83e\\udd80 x"}\n'
        printf '{"n":8,"message":"%s"}\n' "$(head -c 1048576 /dev/zero | tr '\0' a)"; printf '{"n":9,"message":"\377\376"}\n'
        echo '{"n":10,"message":"b"}'
    } >"$dir/in"
    "$ODDLINE_VECTOR_BIN" --quiet --config "$dir/vector.toml" <"$dir/in" >"$dir/log" 2>&1 & vector=$!
    started+=($vector)
    until_true 60 grep -q '"n":10' "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    until_true 60 grep -q '"name":"answer"' "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $vector || { echo "it did not end cleanly"; return 1; }
    local n
    for n in 1 2 3 4 5 6 7 8 10; do
        grep -qE "\"n\":$n[,}]" "$dir/out.ndjson" || { echo "event $n is gone"; return 1; }
    done
    grep -q '"anomaly_original":"mine"' "$dir/out.ndjson"
}

# Vector's own log namespace: a text stays a text, and its fields are metadata.
native_namespace() {
    local dir=$work/native-namespace
    mkdir -p "$dir/data"
    cat >"$dir/vector.toml" <<CONFIG
data_dir = "$dir/data"
schema.log_namespace = true
[sources.logs]
type = "stdin"
[transforms.score]
type = "score_anomalies"
inputs = ["logs"]
[transforms.shown]
type = "remap"
inputs = ["score"]
source = """
percent = to_float!(%anomaly.score) * 100
. = {"whole": string!(.), "odd": %anomaly.is_anomaly, "percent": percent, "state": %anomaly.state, "source": %vector.source_type}
"""
[sinks.out]
type = "console"
inputs = ["shown"]
encoding.codec = "json"
CONFIG
    lines 50 | timeout 60 "$ODDLINE_VECTOR_BIN" --quiet --config "$dir/vector.toml" >"$dir/out" || { cat "$dir/out"; return 1; }
    [ "$(grep -c '"odd":false.*"source":"stdin","state":"learning","whole":"n' "$dir/out")" = 50 ] || { head -3 "$dir/out"; return 1; }
}

# A heartbeat that stops is reported by an event of oddline's own, though nothing comes any more.
native_silence() {
    local dir=$work/native-silence
    native_config "$dir" 'learning_events = 10' 'alert_budget = 0.1'
    run_vector "$ODDLINE_VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    local n
    for n in $(seq 0 119); do echo "n$n heartbeat ok" >>"$dir/logs/in.log"; sleep 0.25; done
    until_true 60 grep -q '"synthetic":true' "$dir/out.ndjson" || { tail -1 "$dir/out.ndjson"; return 1; }
    end $vector
    grep '"synthetic":true' "$dir/out.ndjson" | grep -q '"reasons":\["silence"\]'
}

# The sink: events are kept, the archive beside it gets them unchanged, kill -9 loses nothing that was acknowledged.
native_sink() {
    local dir=$work/native-sink total
    fit native-sink.toml "$dir" || return 1
    lines 4000 >"$dir/logs/in.log"
    run_vector "$ODDLINE_VECTOR_BIN" "$fitted" "$dir/log"
    until_true 60 has_lines 4000 "$dir/archive/*.ndjson" || { cat "$dir/log"; return 1; }
    sleep 3; kill -9 $vector; wait $vector 2>/dev/null
    run_vector "$ODDLINE_VECTOR_BIN" "$fitted" "$dir/log"
    lines 1000 4000 >>"$dir/logs/in.log"
    until_true 60 has_lines 5000 "$dir/archive/*.ndjson" || { cat "$dir/log"; return 1; }
    sleep 2; end $vector
    grep -q '"anomaly"' "$dir"/archive/*.ndjson && { echo "the sink changed events"; return 1; }
    "$oddline" doctor --data-dir "$dir/data/history" || return 1
    total=$("$oddline" stats --data-dir "$dir/data/history" --format json | grep -oE '"events_total": ?[0-9]+' | head -1 | grep -oE '[0-9]+$')
    [ "$total" -ge 5000 ] || { echo "events_total $total"; return 1; }
}

if [ -z "${ODDLINE_VECTOR_BIN:-}" ]; then
    skip "the native component: ODDLINE_VECTOR_BIN is not set"
elif ! need_oddline; then
    fail "the native component: oddline does not build"
else
    for example in "${native_examples[@]}"; do
        check "validate and test $example, leaving no trace" native_validate "$example"
    done
    check "a wrong option is refused with what is accepted; list, generate and generate-schema know the components" native_refuses
    check "20,000 events come out scored and in order, and what was learned is there after a restart" native_order
    check "file source, disk buffer, acknowledgements: three kill -9 lose nothing, and the data dir is sound" native_kill
    check "SIGHUP with other options, behind a quiet source, and with options that fail, keeps what was learned" native_reload
    check "a data dir in use: events pass, errors are counted, and scoring begins when it is free" native_degraded
    check "hostile events, metrics among logs: everything passes" native_hostile
    check "Vector's log namespace: a text keeps its value and gets its fields as metadata" native_namespace
    check "a heartbeat that stops is reported while nothing comes" native_silence
    check "the sink keeps history, changes nothing, and acknowledges what is on disk" native_sink
fi
