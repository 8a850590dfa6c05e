# oddline inside syslog-ng: fed by program(), its answers parsed again. The example of config-examples/pipes, on scratch paths and ports.
. "$here/common.sh"

# syslogng_on DIR: its pid in $daemon, its port in $in_port.
syslogng_on() {
    local dir=$1
    mkdir -p "$dir/state"
    [ -p "$dir/oddline-scored" ] || mkfifo "$dir/oddline-scored"
    in_port=$(free_port)
    {
        # With flow control towards the sender: a pipeline that is slower than it loses nothing.
        printf '@version: 3.35\noptions { keep-hostname(yes); stats-freq(0); create-dirs(yes); };\nsource s_src { network(ip("127.0.0.1") port(%s) transport("tcp") log-iw-size(10000)); };\n' "$in_port"
        sed -e "s|/usr/bin/oddline|$oddline|" -e "s|/var/lib/oddline|$dir/state|" -e "s|/var/log|$dir|" -e "s|/run/oddline-scored|$dir/oddline-scored|g" \
            "$root/config-examples/pipes/syslog-ng.conf"
    } >"$dir/syslog-ng.conf"
    local own=(-f "$dir/syslog-ng.conf" -R "$dir/persist" -c "$dir/control" -p "$dir/pid")
    syslog-ng --syntax-only "${own[@]}" >"$dir/check.log" 2>&1 || { cat "$dir/check.log"; return 1; }
    syslog-ng -F "${own[@]}" >"$dir/log" 2>&1 &
    daemon=$!
    started+=("$daemon")
    until_true 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$in_port" || { cat "$dir/log"; return 1; }
}

syslog() { awk '{ printf "<13>Nov 21 10:00:00 web-1 checkout: %s\n", $0 }'; }
to_port() { bash -c "cat >/dev/tcp/127.0.0.1/$1"; }
ng_numbers() { [ "$(grep -oE '"message":"n-?[0-9]+' "$2" | grep -oE -e '-?[0-9]+' | sort -un | wc -l)" = "$1" ]; }

syslogng_round() {
    local dir=$work/syslog-ng
    syslogng_on "$dir" || return 1
    { lines 12000; echo "$odd_line"; } | syslog | to_port "$in_port"
    until_true 120 ng_numbers 12001 "$dir/scored.ndjson" || { wc -l "$dir/scored.ndjson"; tail -3 "$dir/log"; return 1; }
    grep -v '"anomaly":{' "$dir/scored.ndjson" | grep -q . && { echo "messages without fields"; return 1; }
    until_true 30 grep -q 'web-1 score=1.* ERROR checkout' "$dir/odd.log" || { cat "$dir/odd.log"; return 1; }
    # A reload keeps it; an end is clean.
    kill -HUP $daemon; sleep 1
    lines 1000 20000 | syslog | to_port "$in_port"
    until_true 60 ng_numbers 13001 "$dir/scored.ndjson" || { wc -l "$dir/scored.ndjson"; tail -3 "$dir/log"; return 1; }
    end $daemon
    until_true 20 "$oddline" doctor --data-dir "$dir/state/syslog-ng" || return 1
    [ "$("$oddline" stats --data-dir "$dir/state/syslog-ng" --format json | sed -n 's/^ *"events_total": \([0-9]*\).*/\1/p')" = 13001 ] ||
        { "$oddline" stats --data-dir "$dir/state/syslog-ng"; return 1; }
}

if ! command -v syslog-ng >/dev/null; then
    skip "syslog-ng: not installed (the Debian package syslog-ng-core)"
elif ! need_oddline; then
    fail "syslog-ng: oddline does not build"
else
    check "program() feeds it, what it scored comes back and is parsed, through a reload, and the end is clean" syslogng_round
fi
