# OpenTelemetry's logs through a real Collector, twice: into it over OTLP, out of it to oddline, back into it, out of it as JSON to a file.
. "$here/common.sh"

# Of core components alone, in a version of which the Go module proxy serves all modules.
collector_version=v0.158.0

build_collector() {
    cat >builder.yaml <<CONFIG
dist: {name: otelcol, output_path: $PWD/build}
receivers: [{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver $collector_version}]
exporters: [{gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter $collector_version}]
CONFIG
    GOBIN=$PWD/bin go install "go.opentelemetry.io/collector/cmd/builder@$collector_version" &&
        CGO_ENABLED=0 bin/builder --config builder.yaml && mv build/otelcol built
}

# The Collector's binary in $collector.
need_collector() {
    collector=${COLLECTOR_BIN:-}
    [ -n "$collector" ] || { cached "otelcol-$collector_version" build_collector && collector=$cached; }
}

# collect DIR ENCODING: a Collector that takes OTLP at $in_port, exports it to $oddline_port, takes it back at $back_port and exports it to
# $file_port; its pid in $collector_pid.
collect() {
    cat >"$1/collector.yaml" <<CONFIG
receivers:
  otlp/in: {protocols: {http: {endpoint: 127.0.0.1:$in_port}}}
  otlp/back: {protocols: {http: {endpoint: 127.0.0.1:$back_port}}}
exporters:
  otlphttp/oddline:
    logs_endpoint: http://127.0.0.1:$oddline_port/v1/logs
    encoding: $2
    compression: gzip
    retry_on_failure: {initial_interval: 100ms, max_interval: 1s}
    sending_queue: {num_consumers: 1}
  otlphttp/file:
    logs_endpoint: http://127.0.0.1:$file_port/v1/logs
    encoding: json
    compression: none
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs/in: {receivers: [otlp/in], exporters: [otlphttp/oddline]}
    logs/back: {receivers: [otlp/back], exporters: [otlphttp/file]}
CONFIG
    "$collector" --config "$1/collector.yaml" >>"$1/collector.log" 2>&1 &
    collector_pid=$!
    started+=("$collector_pid")
    until_true 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/$in_port && exec 4<>/dev/tcp/127.0.0.1/$back_port" || { tail -5 "$1/collector.log"; return 1; }
}

# catcher FILE: whatever is posted to $file_port, a line a request, into FILE.
catcher() {
    python3 - "$file_port" "$1" <<'PYTHON' &
import http.server, sys
out = open(sys.argv[2], "ab", buffering=0)
class Catch(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        out.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Catch).serve_forever()
PYTHON
    started+=($!)
}

# otlp: text lines as one OTLP request.
otlp() {
    awk 'BEGIN { printf "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"checkout\"}}]},\"scopeLogs\":[{\"logRecords\":[" }
        { printf "%s{\"timeUnixNano\":\"%d000000000\",\"severityText\":\"INFO\",\"body\":{\"stringValue\":\"%s\"}}", (NR > 1 ? "," : ""), 1700000000 + NR, $0 }
        END { printf "]}]}]}" }'
}
export_otlp() { otlp | curl -sS --fail-with-body -H 'Content-Type: application/json' --data-binary @- "http://127.0.0.1:$in_port/v1/logs" >/dev/null; }
body_numbers() { grep -oE '"stringValue":"n-?[0-9]+ ' "$1" | grep -oE -e '-?[0-9]+' | sort -n | uniq; }
has_bodies() { [ "$(body_numbers "$2" | grep -vc '^-')" = "$1" ]; }

# collector_round ENCODING
collector_round() {
    local dir=$work/collector-$1 n
    mkdir -p "$dir"
    in_port=$(free_port) oddline_port=$(free_port) back_port=$(free_port) file_port=$(free_port)
    : >"$dir/out"
    catcher "$dir/out"
    collect "$dir" "$1" || return 1
    otlp_sidecar "$dir" || return 1
    for n in $(seq 0 500 11500); do lines 500 "$n" | export_otlp || return 1; done
    until_true 60 has_bodies 12000 "$dir/out" || { body_numbers "$dir/out" | wc -l; tail -3 "$dir/collector.log"; return 1; }
    [ "$(grep -o '"key":"anomaly.score"' "$dir/out" | wc -l)" -ge 12000 ] || { echo "records without attributes"; return 1; }
    [ "$(grep -o '"key":"service.name"' "$dir/out" | wc -l)" -gt 0 ] || { echo "the resource is gone"; return 1; }
    echo "$odd_line" | export_otlp || return 1
    until_true 30 grep -q 'pool exhausted' "$dir/out" || return 1
    grep 'pool exhausted' "$dir/out" | grep -q '"key":"anomaly.is_anomaly","value":{"boolValue":true}' || { grep 'pool exhausted' "$dir/out"; return 1; }
    # Killed under load: the Collector keeps what was not answered and sends it again.
    (for n in $(seq 12000 100 14900); do lines 100 "$n" | export_otlp; sleep 0.05; done) & local writer=$!
    sleep 0.5; kill -9 "$sidecar"; wait "$sidecar" 2>/dev/null
    sleep 0.5; otlp_sidecar "$dir" || return 1
    wait $writer
    until_true 60 has_bodies 15000 "$dir/out" || { body_numbers "$dir/out" | wc -l; tail -3 "$dir/collector.log"; return 1; }
    end "$sidecar" && end "$collector_pid"
}

otlp_sidecar() {
    "$oddline" serve --http "127.0.0.1:$oddline_port" --otlp-forward "http://127.0.0.1:$back_port/v1/logs" --partition-by service.name \
        --data-dir "$1/state" 2>>"$1/sidecar.log" &
    sidecar=$!
    started+=("$sidecar")
    until_true 60 curl -sf "http://127.0.0.1:$oddline_port/ready" || { cat "$1/sidecar.log"; return 1; }
}

if [ -z "${COLLECTOR_BIN:-}" ] && ! command -v go >/dev/null; then
    skip "collector: neither COLLECTOR_BIN nor Go is here"
elif ! need_collector; then
    skip "collector: it cannot be built here"
elif ! need_oddline; then
    fail "collector: oddline does not build"
else
    check "15,000 records go from a Collector through oddline and back as protobuf, scored, none lost in a kill -9" collector_round proto
    check "… and as JSON" collector_round json
fi
