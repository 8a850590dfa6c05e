# What several suites need. Sourced.

# The command with feature `serve`, in $oddline.
need_oddline() {
    [ -n "${oddline:-}" ] && return 0
    if [ -n "${ODDLINE_BIN:-}" ]; then oddline=$ODDLINE_BIN; return 0; fi
    echo "building oddline with feature serve"
    cargo build --release --locked --quiet --features serve || return 1
    oddline=${CARGO_TARGET_DIR:-$root/target}/release/oddline
}

# cached NAME BUILD…: what BUILD makes, its path in $cached; it is kept for other runs. BUILD runs in a directory of its own and leaves the program
# there as `built`.
cached() {
    local name=$1 cache=${XDG_CACHE_HOME:-$HOME/.cache}/oddline-e2e
    shift
    cached=$cache/$name
    [ -x "$cached" ] && return 0
    echo "building $name"
    mkdir -p "$cache" "$work/build-$name"
    # It has its name once it is whole.
    (cd "$work/build-$name" && "$@" && mv built "$cached.$$" && mv "$cached.$$" "$cached") >"$work/build-$name.log" 2>&1 ||
        { tail -5 "$work/build-$name.log"; return 1; }
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

# lines COUNT FIRST: the same as text, each with its number.
lines() { events "$@" | sed -E 's/^\{"n":(-?[0-9]+),.*"message":"(.*)"\}$/n\1 \2/'; }
odd_line='n-1 ERROR checkout: no database connection after 5100 ms, pool exhausted'

# line_numbers FILE: the number of each event that was such a line, in order.
line_numbers() { grep -oE '"message":"n-?[0-9]+ ' "$1" | grep -oE -e '-?[0-9]+'; }

# free_port: one that nobody has now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# fit EXAMPLE DIR: the example with its paths below DIR and its ports free ones, in DIR; its name in $fitted, the ports in $in_port, $out_port.
fit() {
    local example=$root/config-examples/vector/$1 dir=$2
    mkdir -p "$dir/data" "$dir/logs" "$dir/archive" "$dir/lib"
    in_port=$(free_port) out_port=$(free_port) fitted=$dir/$1
    sed -e "s|/var/lib/vector|$dir/data|g" -e "s|/var/log/\*.log|$dir/logs/*.log|g" -e "s|/var/log/archive|$dir/archive|g" \
        -e "s|/usr/lib/oddline|$dir/lib|g" -e "s|127.0.0.1:6100|127.0.0.1:$in_port|g" -e "s|127.0.0.1:6101|127.0.0.1:$out_port|g" \
        "$example" >"$fitted"
    # A journal of ours: what `journalctl` would print, from a file.
    sed -i "s|^type = \"journald\"|type = \"journald\"\njournalctl_path = \"$dir/journalctl\"|" "$fitted"
    printf '#!/bin/sh\n[ "$1" = --version ] && { echo systemd 252; exit; }\nexec tail -n +1 -F %s\n' "$dir/logs/journal" >"$dir/journalctl"
    chmod +x "$dir/journalctl"
    : >"$dir/logs/journal"
}

# journal: text lines as a journal has them.
journal() {
    awk '{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\"")
        printf "{\"__CURSOR\":\"c%d\",\"__REALTIME_TIMESTAMP\":\"%d000000\",\"_SYSTEMD_UNIT\":\"checkout.service\",\"_HOSTNAME\":\"web-1\",\"PRIORITY\":\"6\",\"MESSAGE\":\"%s\"}\n", NR, 1700000000 + NR, $0 }'
}

# file_source DIR STATE: the beginning of a configuration for Vector, whose data dir is STATE, with the source `logs` of the files below DIR.
file_source() {
    printf 'data_dir = "%s"\n[sources.logs]\ntype = "file"\ninclude = ["%s/logs/*.log"]\nread_from = "beginning"\nglob_minimum_cooldown_ms = 100\n' "$2" "$1"
}

# run_vector BINARY CONFIG LOG: starts it; its pid in $vector.
run_vector() {
    "$1" --quiet --config "$2" >>"$3" 2>&1 &
    vector=$!
    started+=("$vector")
}

end() { kill -TERM "$@"; wait "$@"; }

# has_lines COUNT FILES: each number from 0 on, at least once. FILES is a pattern, since they may not be there yet.
has_lines() {
    # shellcheck disable=SC2086
    [ "$(cat $2 2>/dev/null | line_numbers - | grep -v '^-' | sort -un | wc -l)" = "$1" ]
}

# in_order FILE COUNT: just these, each once, in order.
in_order() { [ "$(line_numbers "$1" | paste -sd,)" = "$(seq 0 $(($2 - 1)) | paste -sd,)" ]; }

# release DIR VERSION: what packaging/tarball would make, of the sidecar alone, in DIR/VERSION.tar.gz; its files in DIR/VERSION.
release() {
    local usr=$1/$2
    mkdir -p "$usr"/{bin,lib/systemd/system,lib/sysusers.d,share/oddline/plugin-manifests,share/doc/oddline}
    cp "$oddline" "$usr/bin/oddline"
    cp packaging/oddline.service "$usr/lib/systemd/system/"
    cp packaging/sysusers.conf "$usr/lib/sysusers.d/oddline.conf"
    cp plugin-manifests/vector-sidecar.yaml "$usr/share/oddline/plugin-manifests/"
    cp -r config-examples "$usr/share/doc/oddline/examples"
    echo "# $2" >>"$usr/lib/systemd/system/oddline.service"
    pack "$1" "$2"
}
pack() { tar -czf "$1/$2.tar.gz" -C "$1" --transform "s|^$2|oddline-$2|" "$2"; }
