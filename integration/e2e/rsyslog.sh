# oddline inside rsyslog: asked by mmexternal, fed by omprog. The examples of config-examples/pipes, on scratch paths and ports.
. "$here/common.sh"

rsyslogd=${RSYSLOGD:-$(command -v rsyslogd || echo /usr/sbin/rsyslogd)}

# rsyslog_on EXAMPLE DIR: rsyslog with a TCP input and that example; its pid in $daemon, its port in $in_port.
rsyslog_on() {
    local dir=$2
    mkdir -p "$dir/state" "$dir/spool"
    in_port=$(free_port)
    {
        printf 'global(workDirectory="%s/spool" maxMessageSize="64k")\nmodule(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="%s")\n' "$dir" "$in_port"
        sed -e "s|/usr/bin/oddline|$oddline|" -e "s|/var/lib/oddline|$dir/state|" -e "s|/var/log|$dir|" "$root/config-examples/pipes/$1"
    } >"$dir/rsyslog.conf"
    "$rsyslogd" ${RSYSLOG_MODULES:+-M "$RSYSLOG_MODULES"} -N1 -f "$dir/rsyslog.conf" >"$dir/check.log" 2>&1 || { cat "$dir/check.log"; return 1; }
    "$rsyslogd" ${RSYSLOG_MODULES:+-M "$RSYSLOG_MODULES"} -n -f "$dir/rsyslog.conf" -i "$dir/pid" >"$dir/log" 2>&1 &
    daemon=$!
    started+=("$daemon")
    until_true 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$in_port" || { cat "$dir/log"; return 1; }
}

# syslog: lines as syslog has them, from one host.
syslog() { awk '{ printf "<13>Nov 21 10:00:00 web-1 checkout: %s\n", $0 }'; }
to_port() { bash -c "cat >/dev/tcp/127.0.0.1/$1"; }

rsyslog_asks() {
    local dir=$work/rsyslog-asks count=${1:-12000}
    rsyslog_on rsyslog-mmexternal.conf "$dir" || return 1
    { lines "$count"; echo "$odd_line"; } | syslog | to_port "$in_port"
    until_true 120 grep -q 'pool exhausted' "$dir/scored.ndjson" || { wc -l "$dir/scored.ndjson"; tail -3 "$dir/log"; return 1; }
    # One answer a message, in order: the answer of each stands with its own text.
    [ "$(line_pairs "$dir/scored.ndjson" | wc -l)" = "$((count + 1))" ] || { echo "answers are missing"; tail -2 "$dir/scored.ndjson"; return 1; }
    [ "$(line_pairs "$dir/scored.ndjson" | awk '$1 != $2' | wc -l)" = 0 ] || { echo "answers went astray"; return 1; }
    until_true 30 grep -q 'pool exhausted' "$dir/odd.ndjson" || return 1
    grep -q '"is_anomaly": *true' "$dir/odd.ndjson" || { cat "$dir/odd.ndjson"; return 1; }
    end $daemon
    # rsyslog closes the pipe and does not wait.
    until_true 20 "$oddline" doctor --data-dir "$dir/state/rsyslog"
}

# line_pairs FILE: of each event the first word of the message's text, and of the template that oddline found for it.
line_pairs() {
    sed -nE 's/.*"message":" ?n-?[0-9]+ ([A-Za-z]+) .*"template": *"[^ ]* ([A-Za-z]+) .*/\1 \2/p' "$1"
}

# The process oddline is killed under it: rsyslog starts it again, and no message is lost.
rsyslog_killed() {
    local dir=$work/rsyslog-killed
    rsyslog_on rsyslog-mmexternal.conf "$dir" || return 1
    lines 2000 | syslog | to_port "$in_port"
    until_true 60 has_messages 2000 "$dir/scored.ndjson" || return 1
    kill -9 "$(cat "$dir/state/rsyslog/LOCK" | sed -n 's/^pid //p')"
    lines 2000 2000 | syslog | to_port "$in_port"
    until_true 60 has_messages 4000 "$dir/scored.ndjson" || { wc -l "$dir/scored.ndjson"; tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/scored.ndjson" | grep -q '"score"' || { tail -1 "$dir/scored.ndjson"; return 1; }
    end $daemon
}
has_messages() { [ "$(wc -l <"$2")" = "$1" ]; }

rsyslog_feeds() {
    local dir=$work/rsyslog-feeds
    rsyslog_on rsyslog-omprog.conf "$dir" || return 1
    { lines 12000; echo "$odd_line"; } | syslog | to_port "$in_port"
    until_true 120 grep -q 'pool exhausted' "$dir/odd.ndjson" || { ls "$dir"; cat "$dir/log"; return 1; }
    grep 'pool exhausted' "$dir/odd.ndjson" | grep -q '"host":"web-1"' || { cat "$dir/odd.ndjson"; return 1; }
    end $daemon
    # It was ended, not cut off: all it read was learned.
    [ "$("$oddline" stats --data-dir "$dir/state/rsyslog" --format json | sed -n 's/^ *"events_total": \([0-9]*\).*/\1/p')" = 12001 ] ||
        { "$oddline" stats --data-dir "$dir/state/rsyslog"; return 1; }
}

if [ ! -x "$rsyslogd" ]; then
    skip "rsyslog: no rsyslogd (RSYSLOGD, or the Debian package rsyslog)"
elif ! need_oddline; then
    fail "rsyslog: oddline does not build"
else
    check "mmexternal gets one answer a message, in order, and rsyslog writes its messages with them" rsyslog_asks
    check "oddline is killed under rsyslog, which starts it again and loses nothing" rsyslog_killed
    check "omprog feeds it, the odd line comes out, and at the end everything is saved" rsyslog_feeds
fi
