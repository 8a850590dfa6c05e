# The plugin in a stock Fluent Bit. In a host of our own it is tested by `cargo test -p oddline-fluent-bit`.
. "$here/common.sh"
. "$here/log-store.sh"

flb_examples=(filter-minimal.yaml filter-minimal.conf processor.yaml loki.yaml elasticsearch.yaml output.yaml lua.yaml)

# The plugin in $plugin, the module for filter_lua in $luajit_module.
flb_plugin() {
    plugin=${ODDLINE_FLUENT_BIT_PLUGIN:-$("$root/integration/fluent-bit/release")} || return 1
    luajit_module=${ODDLINE_LUAJIT_MODULE:-$("$root/integration/fluent-bit/release" luajit)} || return 1
}

# flb_dir DIR: the plugin below it as it is installed, and places for the rest.
flb_dir() {
    mkdir -p "$1/data/storage" "$1/logs" "$1/lib/luajit"
    # Once: a library that is written over while it is loaded takes its process down.
    [ ! -e "$1/lib/out_oddline.so" ] || return 0
    cp "$plugin" "$1/lib/flb-filter_oddline.so"
    ln -s flb-filter_oddline.so "$1/lib/out_oddline.so"
    cp "$luajit_module" "$1/lib/luajit/oddline_native.so"
    cp "$root/integration/fluent-bit/oddline_fluent_bit.lua" "$1/lib/"
    touch "$1/logs/in.log"
}

# flb_fit EXAMPLE DIR: an example with its paths below DIR and its port a free one; its name in $fitted, the port in $in_port.
flb_fit() {
    flb_dir "$2"
    in_port=$(free_port) fitted=$2/$1
    sed -e "s|/usr/lib/oddline|$2/lib|g" -e "s|/var/lib/fluent-bit|$2/data|g" -e "s|/var/log/\*.log|$2/logs/*.log|g" -e "s|24224|$in_port|" \
        "$root/config-examples/fluent-bit/$1" >"$fitted"
}

# run_flb DIR FILE ARGUMENTS…: the classic format names no plugins.
run_flb() {
    local dir=$1 file=$2 load=()
    shift 2
    case $file in *.conf) load=(-e "$dir/lib/flb-filter_oddline.so") ;; esac
    "$FLUENT_BIT_BIN" "${load[@]}" -c "$file" "$@"
}

# flb DIR FILE: starts a Fluent Bit that writes its log to DIR/log and records to DIR/stdout; its pid in $agent.
flb() {
    local dir=$1 file=$2 load=() seen
    case $file in *.conf) load=(-e "$dir/lib/flb-filter_oddline.so") ;; esac
    seen=$(grep -c 'stream processor started' "$dir/log" 2>/dev/null)
    "$FLUENT_BIT_BIN" "${load[@]}" -c "$file" >>"$dir/stdout" 2>>"$dir/log" &
    agent=$!
    started+=("$agent")
    until_true 30 more_than "${seen:-0}" 'stream processor started' "$dir/log" || { tail -5 "$dir/log"; return 1; }
}
more_than() { [ "$(grep -c "$2" "$3")" -gt "$1" ]; }

# flb_config DIR INPUT KEYS [PROCESSOR-KEYS]: from an input to a file, oddline between them: a filter with KEYS, or a processor.
flb_config() {
    flb_dir "$1"
    {
        printf 'service:\n  flush: 0.2\n  grace: 3\n  hot_reload: on\nplugins:\n  - %s/lib/flb-filter_oddline.so\n  - %s/lib/out_oddline.so\npipeline:\n  inputs:\n' "$1" "$1"
        printf '%s\n' "$2"
        [ -z "${4:-}" ] || printf '      processors:\n        logs:\n          - {name: oddline, match: "*", data_dir: %s/data/oddline, %s}\n' "$1" "$4"
        [ -z "$3" ] || printf '  filters:\n    - {name: oddline, match: "*", data_dir: %s/data/oddline, %s}\n' "$1" "$3"
        printf '  outputs:\n    - {name: file, match: "*", path: %s, file: out.ndjson, format: plain}\n' "$1"
    } >"$1/flb.yaml"
}

# A file with a memory of how far it was read.
tail_input() { printf '    - name: tail\n      path: %s/logs/in.log\n      tag: logs\n      key: message\n      read_from_head: true\n      refresh_interval: 1\n      db: %s/data/tail.db\n      db.sync: full' "$1" "$1"; }
forward_input() { printf '    - name: forward\n      listen: 127.0.0.1\n      port: %s\n      threaded: %s' "$1" "$2"; }

flb_example() {
    local dir=$work/flb-example-$1 example=$1
    flb_fit "$1" "$dir"
    run_flb "$dir" "$fitted" --dry-run || return 1
    [ ! -e "$dir/data/oddline" ] || { echo "the data dir was opened"; return 1; }
    sed -e 's/^\( *\)data_dir = .*/&\n\1partition_bi = "host",/' -e 's/^\( *\)Data_Dir.*/&\n\1Partition_Bi host/' \
        -e 's/^\( *\)data_dir:.*/&\n\1partition_bi: host/' "$fitted" >"$dir/wrong-$example"
    (ulimit -t 20; run_flb "$dir" "$dir/wrong-$example") >"$dir/told" 2>&1 && { echo "a wrong key is accepted"; return 1; }
    grep -i 'partition_bi' "$dir/told" | grep -q 'partition_by' || { tail -5 "$dir/told"; return 1; }
}

# Examples from a file to standard output.
flb_stdout() {
    local dir=$work/flb-stdout-$1
    flb_fit "$1" "$dir"
    flb "$dir" "$fitted" || return 1
    { lines 12000; echo "$odd_line"; } >>"$dir/logs/in.log"
    until_true 60 grep -q 'pool exhausted' "$dir/stdout" || { tail -3 "$dir/log"; return 1; }
    end $agent || return 1
    if [ "$1" = lua.yaml ]; then
        [ "$(grep -c '"anomaly":{' "$dir/stdout")" = 12001 ] || { grep -c anomaly "$dir/stdout"; return 1; }
    else
        [ "$(wc -l <"$dir/stdout")" -le 24 ] || { wc -l "$dir/stdout"; return 1; }
    fi
}

flb_order() {
    local dir=$work/flb-order
    flb_config "$dir" "$(tail_input "$dir")" "learning_events: 10000, metrics_file: $dir/oddline.prom"
    flb "$dir" "$dir/flb.yaml" || return 1
    { lines 20000; echo "$odd_line"; } >>"$dir/logs/in.log"
    until_true 60 grep -q 'pool exhausted' "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $agent || return 1
    in_order <(head -20000 "$dir/out.ndjson") 20000 || { echo "lost, doubled or reordered"; return 1; }
    [ "$(grep -c '"anomaly":{' "$dir/out.ndjson")" = 20001 ] || return 1
    grep -q '^oddline_events_total 20001$' "$dir/oddline.prom" || { cat "$dir/oddline.prom"; return 1; }
    tail -1 "$dir/out.ndjson" | grep -q '"is_anomaly":true' || { tail -1 "$dir/out.ndjson"; return 1; }
    flb "$dir" "$dir/flb.yaml" && lines 1 20000 >>"$dir/logs/in.log"
    until_true 60 grep -q '"message":"n20000 ' "$dir/out.ndjson" || return 1
    end $agent
    tail -1 "$dir/out.ndjson" | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
}

# flb_forward NAME THREADED FILTER-KEYS PROCESSOR-KEYS: records by the forward protocol, where Fluent Bit calls filters from coroutines.
flb_forward() {
    local dir=$work/flb-forward-$1 port
    port=$(free_port)
    flb_config "$dir" "$(forward_input "$port" "$2")" "$3" "$4"
    flb_records "$dir" "$port"
}

# flb_records DIR PORT: 20,000 and an odd one by the forward protocol come out scored and in order.
flb_records() {
    local dir=$1 port=$2
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 20000 >"$dir/lines"
    python3 "$here/forward.py" "$port" lines "$dir/lines" || return 1
    until_true 60 has_lines 20000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    echo "$odd_line" >"$dir/lines"
    python3 "$here/forward.py" "$port" lines "$dir/lines" || return 1
    until_true 30 grep -q 'pool exhausted' "$dir/out.ndjson" || return 1
    end $agent || { tail -3 "$dir/log"; return 1; }
    in_order <(head -20000 "$dir/out.ndjson") 20000 || { echo "lost, doubled or reordered"; return 1; }
    [ "$(grep -c '"anomaly":{' "$dir/out.ndjson")" = 20001 ] && tail -1 "$dir/out.ndjson" | grep -q '"is_anomaly":true'
}

# The Lua filter on a coroutine.
flb_forward_lua() {
    local dir=$work/flb-forward-lua port
    port=$(free_port)
    flb_config "$dir" "$(forward_input "$port" false)" ""
    cat >"$dir/code" <<CONFIG
  filters:
    - name: lua
      match: "*"
      call: cb_filter
      code: |
        package.path = "$dir/lib/?.lua;" .. package.path
        package.cpath = "$dir/lib/luajit/?.so;" .. package.cpath
        cb_filter = require("oddline_fluent_bit").new { data_dir = "$dir/data/oddline" }
CONFIG
    sed -e "/^  outputs:/,\$d" "$dir/flb.yaml" >"$dir/new.yaml"
    cat "$dir/code" >>"$dir/new.yaml"
    sed -n '/^  outputs:/,$p' "$dir/flb.yaml" >>"$dir/new.yaml"
    mv "$dir/new.yaml" "$dir/flb.yaml"
    flb_records "$dir" "$port"
}

# flb_hostile THREADED FILTER-KEYS PROCESSOR-KEYS: what comes out is what comes out without us, and the large one has its fields.
flb_hostile() {
    local dir=$work/flb-hostile-$1 port way
    for way in without with; do
        port=$(free_port)
        if [ $way = with ]; then flb_config "$dir" "$(forward_input "$port" "$1")" "$2" "$3"; else flb_config "$dir" "$(forward_input "$port" "$1")" "" ""; fi
        sed -i 's/      threaded: .*/&\n      buffer_max_size: 64M/' "$dir/flb.yaml"
        flb "$dir" "$dir/flb.yaml" || return 1
        python3 "$here/forward.py" "$port" hostile || return 1
        until_true 30 grep -q 'the last one' "$dir/out.ndjson" || { tail -5 "$dir/log"; return 1; }
        end $agent || { tail -5 "$dir/log"; return 1; }
        mv "$dir/out.ndjson" "$dir/$way"
        sed 's/,*"anomaly":{.*}}$/}/' "$dir/$way" | cut -c1-200 >"$dir/$way.rest"
    done
    [ "$(wc -l <"$dir/without.rest")" -ge 10 ] || { cat "$dir/without.rest"; return 1; }
    diff "$dir/without.rest" "$dir/with.rest" || return 1
    grep '"message":"large' "$dir/with" | grep -q '"anomaly":{'
}

# What a reload under way can lose or double at a file input is the input's; here nothing is, since it remembers how far it read.
flb_reload() {
    local dir=$work/flb-reload round
    flb_config "$dir" "$(tail_input "$dir")" "learning_events: 1000"
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 3000 >>"$dir/logs/in.log"
    until_true 60 has_lines 3000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    (for n in $(seq 3000 100 11900); do lines 100 "$n" >>"$dir/logs/in.log"; sleep 0.05; done) & local writer=$!
    for round in 1 2 3; do
        sleep 1
        flb_config "$dir" "$(tail_input "$dir")" "learning_events: 1000, fields: $([ $round = 2 ] && echo minimal || echo full)"
        kill -HUP $agent
        until_true 30 more_than "$round" 'stream processor started' "$dir/log" || { tail -5 "$dir/log"; return 1; }
    done
    wait $writer
    until_true 60 has_lines 12000 "$dir/out.ndjson" || { cat "$dir/out.ndjson" | line_numbers - | sort -un | wc -l; tail -3 "$dir/log"; return 1; }
    end $agent || { tail -5 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep '"detectors"' | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
    grep -v '"anomaly":{' "$dir/out.ndjson" | grep . && { echo "a record without fields"; return 1; }
    grep -q '"state":"degraded"' "$dir/out.ndjson" && { echo "a record went unscored"; return 1; }
    return 0
}

flb_kill() {
    local dir=$work/flb-kill round
    flb_config "$dir" "$(tail_input "$dir")" "learning_events: 1000"
    for round in 0 1 2; do
        lines 5000 $((round * 5000)) >>"$dir/logs/in.log"
        flb "$dir" "$dir/flb.yaml" || return 1
        sleep 1.5; kill -9 $agent; wait $agent 2>/dev/null
    done
    "$oddline" doctor --data-dir "$dir/data/oddline" || return 1
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 1 15000 >>"$dir/logs/in.log"
    until_true 60 grep -q '"message":"n15000 ' "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $agent
    tail -1 "$dir/out.ndjson" | grep -q '"state":"ready"'
}

# Two filters and an output on one data dir, in one process: one engine.
flb_shared() {
    local dir=$work/flb-shared
    flb_config "$dir" "$(tail_input "$dir")" "learning_events: 1000" "learning_events: 1000"
    sed -i "s|^  filters:|  filters:\n    - {name: oddline, match: '*', data_dir: $dir/data/oddline, target: second}|" "$dir/flb.yaml"
    printf '    - {name: oddline, match: "*", data_dir: %s/data/oddline, workers: 2}\n' "$dir" >>"$dir/flb.yaml"
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 6000 >>"$dir/logs/in.log"
    until_true 60 has_lines 6000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $agent || return 1
    tail -1 "$dir/out.ndjson" | grep '"second":{' | grep -q '"anomaly":{' || { tail -1 "$dir/out.ndjson"; return 1; }
    ! grep -q '"state":"degraded"' "$dir/out.ndjson" && ! grep -q 'without scores' "$dir/log" || { grep oddline "$dir/log"; return 1; }
}

flb_degraded() {
    local dir=$work/flb-degraded
    flb_config "$dir" "$(tail_input "$dir")" "durability: always"
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 1000 >>"$dir/logs/in.log"
    until_true 60 has_lines 1000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    rm -rf "$dir/data/oddline"
    lines 2000 1000 >>"$dir/logs/in.log"
    until_true 60 has_lines 3000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    sleep 6
    lines 1000 3000 >>"$dir/logs/in.log"
    until_true 60 has_lines 4000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $agent || { echo "it did not end cleanly"; tail -5 "$dir/log"; return 1; }
    [ "$(grep -c '"anomaly":{' "$dir/out.ndjson")" = 4000 ]
}

# flb_counts PORT METRIC COUNT: whether a Fluent Bit that serves its metrics there has counted so much.
flb_counts() { [ "$(curl -s "http://127.0.0.1:$1/api/v2/metrics/prometheus" | awk -v name="$2" '$1 == name { print $2 }')" -ge "$3" ]; }

# The output: what it took is on disk; while it cannot be written, chunks wait, and none is lost.
flb_output() {
    local dir=$work/flb-output port
    port=$(free_port)
    flb_config "$dir" "$(tail_input "$dir")" ""
    printf '    - {name: oddline, match: "*", data_dir: %s/data/state, learning_events: 1000, workers: 2, retry_limit: no_limits}\n' "$dir" >>"$dir/flb.yaml"
    sed -i 's/grace: 3/grace: 20\n  scheduler.base: 1\n  scheduler.cap: 2\n  http_server: on\n  http_listen: 127.0.0.1\n  http_port: '"$port/" "$dir/flb.yaml"
    echo "in the way" >"$dir/data/state"
    flb "$dir" "$dir/flb.yaml" || return 1
    lines 3000 >>"$dir/logs/in.log"
    until_true 30 grep -q 'failed to flush chunk' "$dir/log" || { echo "no chunk was refused"; tail -5 "$dir/log"; return 1; }
    rm "$dir/data/state"
    lines 3000 3000 >>"$dir/logs/in.log"
    until_true 60 flb_counts "$port" 'fluentbit_output_proc_records_total{name="oddline.1"}' 6000 || { tail -5 "$dir/log"; return 1; }
    kill -9 $agent; wait $agent 2>/dev/null
    "$oddline" doctor --data-dir "$dir/data/state" || return 1
    "$oddline" stats --data-dir "$dir/data/state" --format json >"$dir/stats" && grep -q '"events_total": *6000' "$dir/stats" || { cat "$dir/stats"; return 1; }
    grep -q '"anomaly"' "$dir/out.ndjson" && { echo "a record was changed"; return 1; }
    return 0
}

# flb_store NAME FIELD: an example into the real store.
flb_store() {
    local name=${1%.yaml} dir=$work/flb-$1
    flb_fit "$1" "$dir"
    sed -i -e "s/port: 3100/port: ${address##*:}/" -e "s/port: 9200/port: ${address##*:}/" -e "s|uri: /loki|uri: /insert/loki|" -e "s|path: /\$|path: /insert/elasticsearch\n      time_key: _time\n      time_key_nanos: true|" "$fitted"
    flb "$dir" "$fitted" || return 1
    { lines 12000; echo "$odd_line"; } | sed "s/$/ flb_$name/" >>"$dir/logs/in.log"
    until_true 60 test_at_least 12001 "$2flb_$name" || { found "$2flb_$name"; tail -5 "$dir/log"; return 1; }
    end $agent || return 1
    holds 12001 "$2flb_$name" && query "$2flb_$name $3:true" | grep -q 'pool exhausted' && [ "$(found "$2flb_$name $3:true")" -le 24 ]
}

# FLB_E2E_RECORDS (default 1,000,000) through the filter: the memory at the end is that after the first tenth, and a little.
flb_memory() {
    local dir=$work/flb-memory count=${FLB_E2E_RECORDS:-1000000} first last
    flb_config "$dir" "$(printf '    - {name: tail, path: %s/logs/big.log, tag: logs, key: message, read_from_head: true, refresh_interval: 1, mem_buf_limit: 20M}' "$dir")" "hold_secs: 60"
    sed -i -e 's/{name: file.*/{name: counter, match: "*"}/' -e '/^service:/a\  http_server: on\n  http_listen: 127.0.0.1' "$dir/flb.yaml"
    local port; port=$(free_port)
    sed -i "s/  http_listen: .*/&\n  http_port: $port/" "$dir/flb.yaml"
    lines "$count" >"$dir/logs/big.log"
    flb "$dir" "$dir/flb.yaml" || return 1
    until_true 600 flb_passed "$port" $((count / 10)) || { tail -3 "$dir/log"; return 1; }
    first=$(flb_rss)
    until_true 1800 flb_passed "$port" "$count" || { tail -3 "$dir/log"; return 1; }
    last=$(flb_rss)
    end $agent || return 1
    echo "$count records: $first KiB after a tenth, $last KiB at the end" | tee "$work/flb-memory.told"
    [ "$last" -le $((first + 16384)) ]
}
flb_rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$agent/status"; }
flb_passed() { flb_counts "$1" 'fluentbit_filter_records_total{name="oddline.0"}' "$2"; }

if [ -z "${FLUENT_BIT_BIN:-}" ]; then
    skip "the plugin in Fluent Bit: FLUENT_BIT_BIN is not set"
elif ! need_oddline; then
    fail "the plugin in Fluent Bit: oddline does not build"
elif ! flb_plugin; then
    fail "the plugin in Fluent Bit: the plugin does not build"
else
    for example in "${flb_examples[@]}"; do
        check "--dry-run of $example opens nothing, and a wrong key is refused with the right one" flb_example "$example"
    done
    for example in filter-minimal.yaml filter-minimal.conf lua.yaml; do
        check "$example from a file: the odd line comes out" flb_stdout "$example"
    done
    check "20,000 records come out scored and in order, and what was learned is there after a restart" flb_order
    check "in_forward, the filter on a coroutine" flb_forward filter false "learning_events: 10000" ""
    check "in_forward, a processor on a coroutine" flb_forward processor false "" "learning_events: 10000"
    check "in_forward, threaded, a processor on the input's thread" flb_forward threaded true "" "learning_events: 10000"
    check "in_forward, threaded, the filter" flb_forward threaded-filter true "learning_events: 10000" ""
    check "in_forward, the Lua filter on a coroutine" flb_forward_lua
    check "hostile records on a coroutine: everything passes that Fluent Bit lets in" flb_hostile false "fields: full" ""
    check "the same with a processor on the input's thread" flb_hostile true "" "fields: full"
    check "three hot reloads under load: nothing is lost, and what was learned is kept" flb_reload
    check "three kill -9: the data dir is sound and scoring goes on" flb_kill
    check "a processor, two filters and an output on one data dir share one engine" flb_shared
    check "a data dir that vanishes: every record passes" flb_degraded
    check "the output: refused while it cannot be written, sent again, and on disk when it was taken" flb_output
    check "records pass with flat memory" flb_memory && cat "$work/flb-memory.told"
    if ! command -v curl >/dev/null || { [ -z "${VICTORIA_LOGS_BIN:-}" ] && ! command -v go >/dev/null; } || ! need_store; then
        skip "Loki and Elasticsearch outputs: no log store"
    elif ! start_store; then
        fail "Loki and Elasticsearch outputs: VictoriaLogs does not start"; tail -5 "$work/store.log"
    else
        check "loki.yaml: from a file into the store, found again by the label anomaly" flb_store loki.yaml "" anomaly
        check "elasticsearch.yaml: the same, found again by anomaly.is_anomaly" flb_store elasticsearch.yaml "log:" anomaly.is_anomaly
    fi
fi
