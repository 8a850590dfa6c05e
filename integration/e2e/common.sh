# What several suites need. Sourced.

# The command with feature `serve`, in $oddline.
need_oddline() {
    [ -n "${oddline:-}" ] && return 0
    if [ -n "${ODDLINE_BIN:-}" ]; then oddline=$ODDLINE_BIN; return 0; fi
    echo "building oddline with feature serve"
    cargo build --release --locked --quiet --features serve || return 1
    oddline=${CARGO_TARGET_DIR:-$root/target}/release/oddline
}

# events COUNT FIRST: NDJSON of a service that works, numbered.
events() {
    awk -v count="$1" -v first="${2:-0}" 'BEGIN {
        for (i = 0; i < count; i++) {
            n = first + i; k = n % 5
            if (k == 0) m = "request " n " took " (n % 97) " ms"
            if (k == 1) m = "user " n " logged in from 10.0." (n % 200) "." (n % 250)
            if (k == 2) m = "cache miss for session " n
            if (k == 3) m = "job " n " finished on worker " (n % 16)
            if (k == 4) m = "connection " n " closed"
            printf "{\"n\":%d,\"host\":\"web-1\",\"message\":\"%s\"}\n", n, m
        }
    }'
}
odd_event='{"n":-1,"host":"web-1","message":"ERROR checkout: no database connection after 5100 ms, pool exhausted"}'

# serve NAME ARGUMENTS…: starts a sidecar; its pid in $pid, where it listens for HTTP in $http.
serve() {
    local log=$work/$1.log; shift
    "$oddline" serve --http 127.0.0.1:0 "$@" 2>"$log" &
    pid=$!
    started+=("$pid")
    until_true 60 grep -q "listening for HTTP on" "$log" || { cat "$log"; return 1; }
    http=$(sed -n 's/^oddline: listening for HTTP on //p' "$log")
}

post() { curl -sS --fail-with-body -H 'Content-Type: application/x-ndjson' --data-binary @- "http://$http/v1/score"; }

# numbers FILE: the `n` of each event, in order.
numbers() { sed -E 's/^\{"n":(-?[0-9]+),.*/\1/' "$1"; }
