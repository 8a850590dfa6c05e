# oddline inside Telegraf: asked by its execd processor. The example of config-examples/pipes, on scratch paths.
. "$here/common.sh"

telegraf_module=github.com/influxdata/telegraf/cmd/telegraf
telegraf_version=v1.36.4

build_telegraf() {
    GOBIN=$PWD CGO_ENABLED=0 go install -tags custom,inputs.tail,processors.execd,outputs.file,parsers.json,parsers.value,serializers.json \
        "$telegraf_module@$telegraf_version" && mv telegraf built
}

# Telegraf's binary in $telegraf: of the plugins of the example alone.
need_telegraf() {
    telegraf=${TELEGRAF_BIN:-}
    [ -n "$telegraf" ] || { cached "telegraf-$telegraf_version" build_telegraf && telegraf=$cached; }
}

# telegraf_on DIR: its pid in $agent.
telegraf_on() {
    {
        printf '[agent]\n  interval = "1s"\n  flush_interval = "1s"\n  metric_buffer_limit = 50000\n  skip_processors_after_aggregators = true\n'
        sed -e "s|/usr/bin/oddline|$oddline|" -e "s|/var/lib/oddline|$1/state|" -e "s|/var/log/app.log|$1/in.log|" -e "s|\"stdout\"|\"$1/out.ndjson\"|" \
            -e 's|^  files = .*in.log.*|&\n  initial_read_offset = "beginning"|' "$root/config-examples/pipes/telegraf.conf"
    } >"$1/telegraf.conf"
    "$telegraf" --config "$1/telegraf.conf" >>"$1/log" 2>&1 &
    agent=$!
    started+=("$agent")
}
# A line in, a metric out; in order, as one processor makes them.
telegraf_numbers() { grep -oE '"fields_value":"n-?[0-9]+ ' "$1" | grep -oE -e '-?[0-9]+'; }
telegraf_has() { [ "$(telegraf_numbers "$2" | grep -vc '^-')" = "$1" ]; }

telegraf_round() {
    local dir=$work/telegraf
    mkdir -p "$dir/state"
    { lines 12000; echo "$odd_line"; } >"$dir/in.log"
    telegraf_on "$dir"
    until_true 120 grep -q 'pool exhausted' "$dir/out.ndjson" || { tail -5 "$dir/log"; return 1; }
    until_true 60 telegraf_has 12000 "$dir/out.ndjson" || { telegraf_numbers "$dir/out.ndjson" | wc -l; tail -5 "$dir/log"; return 1; }
    grep 'pool exhausted' "$dir/out.ndjson" | grep '"anomaly_is_anomaly":true' | grep -q "\"tags_path\":\"$dir/in.log\"" || { grep 'pool exhausted' "$dir/out.ndjson"; return 1; }
    [ "$(grep -c '"anomaly_score"' "$dir/out.ndjson")" = 12001 ] || { echo "metrics without a score"; return 1; }
    end $agent || { tail -5 "$dir/log"; return 1; }
    # Telegraf itself closes the pipe that it reads when oddline has ended, and may say that it did.
    grep ' E! ' "$dir/log" | grep -v 'Error reading stdout: .*file already closed' && return 1
    # It was ended, not cut off: all it read was learned.
    [ "$("$oddline" stats --data-dir "$dir/state/telegraf" --format json | sed -n 's/^ *"events_total": \([0-9]*\).*/\1/p')" = 12001 ] ||
        { "$oddline" stats --data-dir "$dir/state/telegraf"; return 1; }
}

# What oddline says of its own has neither name nor tags of Telegraf's.
telegraf_own() {
    local dir=$work/telegraf-own
    mkdir -p "$dir"
    cat >"$dir/oddline" <<'SCRIPT'
#!/bin/sh
read -r line; echo "$line"
echo '{"fields":{"value":"oddline: expected and not seen: still here"},"timestamp":"2026-01-02T03:04:05.678901Z","anomaly":{"score":0.9,"is_anomaly":true,"reasons":["silence"],"synthetic":true}}'
exec cat
SCRIPT
    chmod +x "$dir/oddline"
    lines 1 >"$dir/in.log"
    oddline=$dir/oddline telegraf_on "$dir"
    until_true 30 grep -q 'not seen: still here' "$dir/out.ndjson" || { tail -5 "$dir/log"; return 1; }
    end $agent
    grep 'not seen' "$dir/out.ndjson" | grep '"anomaly_synthetic":true' | grep -q '"timestamp":1767323045' || { cat "$dir/out.ndjson"; return 1; }
}

if [ -z "${TELEGRAF_BIN:-}" ] && ! command -v go >/dev/null; then
    skip "telegraf: neither TELEGRAF_BIN nor Go is here"
elif ! need_telegraf; then
    skip "telegraf: it cannot be built here"
elif ! need_oddline; then
    fail "telegraf: oddline does not build"
else
    check "the execd processor gets 12,001 metrics back, scored, the odd one an anomaly, and the end is clean" telegraf_round
    check "an event of oddline's own is taken as a metric" telegraf_own
fi
