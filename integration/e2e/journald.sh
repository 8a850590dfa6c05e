# The journal through oddline: a journal as systemd-journal-remote writes it, read by the real journalctl, with the command of the unit in config-examples/pipes.
. "$here/common.sh"

journal_remote=${JOURNAL_REMOTE:-$(command -v systemd-journal-remote || echo /lib/systemd/systemd-journal-remote)}

# journal_add FILE [FIRST]: text lines as entries of the journal FILE, a second apart, in the format that journals are exported in.
journal_add() {
    python3 -c '
import struct, sys
out, first, boot = sys.stdout.buffer, int(sys.argv[1]), "0123456789abcdef0123456789abcdee"
for n, line in enumerate(sys.stdin.buffer, first):
    line, at = line.rstrip(b"\n"), n * 1000000
    head = f"__CURSOR=s={boot};i={n + 1:x};b={boot};m={at:x};t={1700000000000000 + at:x};x={n:x}\n"
    head += f"__REALTIME_TIMESTAMP={1700000000000000 + at}\n__MONOTONIC_TIMESTAMP={at}\n_BOOT_ID={boot}\n_SYSTEMD_UNIT=checkout.service\nPRIORITY=6\n"
    out.write(head.encode() + b"MESSAGE\n" + struct.pack("<Q", len(line)) + line + b"\n\n")
' "${2:-0}" | "$journal_remote" -o "$1" - 2>&1
}

# journal_unit DIR: the command of the unit, on scratch paths and the journal there.
journal_unit() {
    sed -n "s/^ExecStart=\/bin\/sh -c '\(.*\)'\$/\1/p" "$root/config-examples/pipes/oddline-journal.service" |
        sed -e "s|journalctl -q|journalctl -q --file $1/system.journal|" -e "s|/usr/bin/oddline|$oddline|" -e "s|/var/lib/oddline|$1/state|g" -e "s|/var/log/oddline|$1|"
}

# journal_on DIR: starts it in a process group of its own; its pid in $unit.
journal_on() {
    setsid /bin/sh -c "$(journal_unit "$1")" 2>>"$1/log" &
    unit=$!
    started+=("$unit")
}
journal_learned() { [ "$("$oddline" stats --data-dir "$2/state/journald" --format json | sed -n 's/^ *"events_total": \([0-9]*\).*/\1/p')" = "$1" ]; }
# The group gets SIGTERM, as from systemd.
journal_end() { kill -TERM -- "-$unit"; wait "$unit"; until_true 20 "$oddline" doctor --data-dir "$1/state/journald"; }

journal_round() {
    local dir=$work/journald
    mkdir -p "$dir/state"
    # The colours of a terminal, text that is not UTF-8 and more than 4 KiB: what journalctl writes as bytes, or without --all not at all.
    {
        lines 12000
        printf '\033[31mn12000 request 12000 took 3 ms\033[0m\nn12001 caf\351 closed\nn12002 request 12002 took %05000d ms\n' 0
        echo "$odd_line"
    } | journal_add "$dir/system.journal" || return 1
    journal_on "$dir"
    until_true 120 grep -q 'pool exhausted' "$dir/odd.ndjson" || { tail -3 "$dir/log"; return 1; }
    grep 'pool exhausted' "$dir/odd.ndjson" | grep '"_SYSTEMD_UNIT":"checkout.service"' | grep -q '"is_anomaly":true' || return 1
    journal_end "$dir" || { cat "$dir/log"; return 1; }
    journal_learned 12004 "$dir" || { "$oddline" stats --data-dir "$dir/state/journald"; cat "$dir/log"; return 1; }
    grep -q 'without a message' "$dir/log" && { cat "$dir/log"; return 1; }
    # It goes on where it was, also with what comes while it runs.
    lines 100 12004 | journal_add "$dir/system.journal" 12004
    touch "$dir/mark"
    journal_on "$dir"
    until_true 30 test "$dir/state/journald.cursor" -nt "$dir/mark" || { cat "$dir/log"; return 1; }
    { lines 100 12104; echo "n12204 ERROR payment: certificate of bank-7 expired 3 days ago"; } | journal_add "$dir/system.journal" 12104
    until_true 30 grep -q 'certificate' "$dir/odd.ndjson" || return 1
    journal_end "$dir" && journal_learned 12205 "$dir" || { "$oddline" stats --data-dir "$dir/state/journald"; cat "$dir/log"; return 1; }
    [ "$(grep -c 'pool exhausted' "$dir/odd.ndjson")" = 1 ]
}

# A journalctl that fails is the end of the input, and the pipe ends well: the unit starts it again all the same.
journal_fails() {
    local dir=$work/journald-none
    mkdir -p "$dir/state"
    lines 1 | journal_add "$dir/system.journal" || return 1
    echo 'no cursor' >"$dir/state/journald.cursor"
    timeout 60 /bin/sh -c "$(journal_unit "$dir")" 2>"$dir/log" || { cat "$dir/log"; return 1; }
    grep -q 'cursor' "$dir/log" && grep -qx 'Restart=always' "$root/config-examples/pipes/oddline-journal.service" || { cat "$dir/log"; return 1; }
}

if ! command -v journalctl >/dev/null || [ ! -x "$journal_remote" ]; then
    skip "journald: journalctl and systemd-journal-remote are not both installed (Debian packages of these names)"
elif ! need_oddline; then
    fail "journald: oddline does not build"
else
    check "where journalctl fails the pipe ends, and the unit is one that is started again" journal_fails
    check "a journal with colours, bytes and long entries is learned, the odd entry comes out, and a restart goes on where it was" journal_round
fi
