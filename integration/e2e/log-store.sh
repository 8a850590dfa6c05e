# A real log store: VictoriaLogs takes JSON lines and the protocols of Loki and Elasticsearch. Sourced.

# The last release of the module that has the store in it and that the Go module proxy serves.
store_module=github.com/VictoriaMetrics/VictoriaMetrics
store_version=v1.110.0

build_store() {
    go mod init store && go get "$store_module/app/victoria-logs@$store_version" && CGO_ENABLED=0 go build -o built "$store_module/app/victoria-logs"
}

# The store's binary in $store.
need_store() {
    store=${VICTORIA_LOGS_BIN:-}
    [ -n "$store" ] || { cached "victoria-logs-$store_version" build_store && store=$cached; }
}

# start_store: its address in $address. Another process may take the port first, which the store then says.
start_store() {
    address=127.0.0.1:$(free_port)
    "$store" -httpListenAddr="$address" -storageDataPath="$work/store-$address" >"$work/store.log" 2>&1 &
    started+=($!)
    until_true 30 curl -sf "http://$address/health"
}

# query LOGSQL: NDJSON of what is found.
query() { curl -sS --fail-with-body "http://$address/select/logsql/query" --data-urlencode "query=$1" --data-urlencode limit=100000; }
found() { query "$1" | wc -l; }

# Asks again until the store has taken everything in: holds COUNT LOGSQL.
holds() { until_true 30 test_count "$1" "$2" || { echo "$2: expected $1, found $(found "$2")"; return 1; }; }
test_count() { [ "$(found "$2")" = "$1" ]; }
test_at_least() { [ "$(found "$2")" -ge "$1" ]; }
