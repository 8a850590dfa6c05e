# Enriched events in a real log store, found again by what oddline says of them.
. "$here/common.sh"

. "$here/log-store.sh"

insert() { curl -sS --fail-with-body -H 'Content-Type: application/json' -H "VL-Stream-Fields: host" --data-binary @- "http://$address/insert/$1"; }

store_score() {
    serve store --data-dir "$work/store-state" || return 1
    local now; now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    { events 12000; echo "$odd_event"; } | sed "s/^{/{\"timestamp\":\"$now\",/" | post >"$work/scored" || return 1
    kill -TERM "$pid" && wait "$pid"
    anomalies=$(grep -c '"is_anomaly":true' "$work/scored")
    tail -1 "$work/scored" | grep -q '"is_anomaly":true' && [ "$anomalies" -le 12 ]
}

store_jsonline() {
    sed 's/^{/{"way":"jsonline",/' "$work/scored" | insert "jsonline?_stream_fields=host&_time_field=timestamp&_msg_field=message" || return 1
    holds 12001 'way:jsonline' && holds $anomalies 'way:jsonline anomaly.is_anomaly:true' &&
        query 'way:jsonline anomaly.is_anomaly:true' | grep -q 'pool exhausted'
}

store_elasticsearch() {
    sed -e 's/^{/{"way":"elasticsearch",/' -e 's/^/{"create":{"_index":"logs-oddline"}}\n/' "$work/scored" |
        insert "elasticsearch/_bulk?_stream_fields=host&_time_field=timestamp&_msg_field=message" >"$work/bulk" || return 1
    grep -q '"errors":false' "$work/bulk" || { head -c 500 "$work/bulk"; return 1; }
    holds 12001 'way:elasticsearch' && holds $anomalies 'way:elasticsearch anomaly.is_anomaly:true'
}

# As config-examples/vector/loki.toml has it: `anomaly` is a label, score and reasons are structured metadata.
store_loki() {
    python3 - "$work/scored" >"$work/loki.json" <<'PYTHON' || return 1
import json, sys, time
streams = {}
now = time.time_ns()
for n, line in enumerate(open(sys.argv[1])):
    event = json.loads(line)
    found = event["anomaly"]
    metadata = {"score": str(found["score"]), "template_id": found["template_id"], "reasons": ",".join(found["reasons"])}
    label = "true" if found["is_anomaly"] else "false"
    streams.setdefault(label, []).append([str(now + n), event["message"], metadata])
labels = lambda label: {"job": "vector", "way": "loki", "anomaly": label}
print(json.dumps({"streams": [{"stream": labels(label), "values": values} for label, values in streams.items()]}))
PYTHON
    insert "loki/api/v1/push" <"$work/loki.json" || return 1
    holds 12001 'way:loki' && holds $anomalies 'way:loki anomaly:true' && query 'way:loki anomaly:true' | grep -q 'new_template'
}

# Straight from the sidecar's HTTP output into the store.
store_forward() {
    cat >"$work/forward.toml" <<CONFIG
[http]
listen = "127.0.0.1:0"
forward = "http://$address/insert/jsonline?_stream_fields=host&_time_field=timestamp&_msg_field=message"
CONFIG
    serve forward --serve-config "$work/forward.toml" || return 1
    events 500 | sed "s/^{/{\"way\":\"forward\",\"timestamp\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",/" | post || return 1
    kill -TERM "$pid" && wait "$pid"
    holds 500 'way:forward' && holds 500 'way:forward anomaly.state:learning'
}

# The examples for Loki and Elasticsearch as they are, but for addresses, from a file to the store: store_example NAME PATH.
store_example() {
    local dir=$work/store-$1 way=$1
    fit "$1.toml" "$dir" || return 1
    sed -i -e "s|http://127.0.0.1:3100|http://$address/insert|" -e "s|http://127.0.0.1:9200|http://$address/insert/elasticsearch|" "$fitted"
    if [ "$way" = elasticsearch ]; then
        printf 'query._stream_fields = "host"\nquery._time_field = "timestamp"\nquery._msg_field = "message"\n' >"$dir/query"
        sed -i "/^mode = \"bulk\"/r $dir/query" "$fitted"
    fi
    serve "$way" --listen "127.0.0.1:$in_port" --forward "http://127.0.0.1:$out_port" --data-dir "$dir/state" || return 1
    run_vector "$VECTOR_BIN" "$fitted" "$dir/log"
    sleep 2
    { lines 12000; echo "$odd_line"; } | sed "s/$/ via_$way/" >"$dir/logs/in.log"
    until_true 60 test_at_least 12001 "via_$way" || { found "via_$way"; tail -5 "$dir/log"; return 1; }
    end $vector && end "$pid"
    holds 12001 "via_$way" && query "via_$way $2:true" | grep -q 'pool exhausted' && [ "$(found "via_$way $2:true")" -le 24 ]
}
if ! command -v curl >/dev/null || ! command -v python3 >/dev/null; then
    skip "log store: curl and python3 are not both installed"
elif [ -z "${VICTORIA_LOGS_BIN:-}" ] && ! command -v go >/dev/null; then
    skip "log store: Go is not installed and VICTORIA_LOGS_BIN is not set"
elif ! need_store; then
    skip "log store: VictoriaLogs could not be built (no Go module proxy?)"
elif ! need_oddline; then
    fail "log store: oddline does not build"
else
    if start_store; then
        check "12,001 events are scored, the odd one an anomaly, within the budget" store_score
        check "as JSON lines: found again by anomaly.is_anomaly" store_jsonline
        check "by the Elasticsearch bulk protocol: found again by anomaly.is_anomaly" store_elasticsearch
        check "by the Loki push protocol: found again by the label anomaly" store_loki
        check "from the sidecar's HTTP output straight into the store" store_forward
        if [ -z "${VECTOR_BIN:-}" ]; then
            skip "log store behind Vector: VECTOR_BIN is not set"
        else
            check "loki.toml: from a file through Vector and the sidecar, found again by the label anomaly" store_example loki anomaly
            check "elasticsearch.toml: the same by bulk, found again by anomaly.is_anomaly" store_example elasticsearch anomaly.is_anomaly
        fi
    else
        fail "log store: VictoriaLogs does not start"; tail -5 "$work/store.log"
    fi
fi
