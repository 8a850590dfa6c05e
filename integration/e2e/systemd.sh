# The units under a real systemd: PID 1 of namespaces of its own, on an overlay of this machine's files, with all of their hardening.
. "$here/common.sh"

# What cgroup version 2 is mounted on, if it is; beside version 1, too.
cgroups() { awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts; }

# boot: its PID 1 in $init.
boot() {
    local group
    group=$(cgroups)/oddline-e2e-$$
    mkdir "$group" "$work/systemd" || return 1
    bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup "$@"' \
        boot "$group" "$here/boot-systemd" "$work/systemd" "$(realpath "$oddline")" >"$work/systemd.log" 2>&1 </dev/null &
    booted=$!
    started+=("$booted")
    until_true 90 is_up || return 1
}
is_up() {
    init=$(cat "/proc/$booted/task/$booted/children" 2>/dev/null)
    init=${init%% *}
    [ "$(inside systemctl is-active oddline-e2e.target)" = active ]
}
# inside COMMAND…: in it.
inside() { nsenter --all --target "$init" -- "$@"; }
# All of it ends with its PID 1.
shut_down() {
    kill -9 "$booted"; wait "$booted" 2>/dev/null
    until_true 10 find "$(cgroups)/oddline-e2e-$$" -depth -type d -exec rmdir {} +
}
told() { inside journalctl --no-pager -q -n 15 -o short-precise _PID=1 + _SYSTEMD_UNIT="$1.service"; return 1; }
property() { inside systemctl show -P "$2" "$1"; }
is_property() { [ "$(property "$1" "$2")" = "$3" ]; }

# The sidecar with HTTP alone: where the examples' next hop is, nobody is. Its port is the unit's own: the network is its own, too.
unit_http=127.0.0.1:6180
unit_post() { inside curl -sS --fail-with-body -H 'Content-Type: application/x-ndjson' --data-binary @- "http://$unit_http/v1/score"; }
# unit_learned DIR: events that were learned there, as its files have it.
unit_learned() { inside runuser -u oddline -- oddline stats --data-dir "$1" --format json | sed -n 's/^ *"events_total": \([0-9]*\).*/\1/p'; }
has_unit_learned() { [ "$(unit_learned "$2")" = "$1" ]; }

unit_starts() {
    # Ready when it is started: no waiting here.
    inside systemctl start oddline || told oddline || return 1
    { events 12000; echo "$odd_event"; } | unit_post >"$work/unit.scored" || told oddline || return 1
    [ "$(wc -l <"$work/unit.scored")" = 12001 ] && tail -1 "$work/unit.scored" | grep -q '"is_anomaly":true' || return 1
    [ "$(inside stat -c '%U %a' /var/lib/oddline)" = "oddline 700" ] || { inside ls -la /var/lib/oddline; return 1; }
    # Nobody else reads what is in it.
    [ -z "$(inside find /var/lib/oddline -mindepth 1 -perm /077)" ] || { inside find /var/lib/oddline -ls; return 1; }
    # What the unit asks for is what the process has.
    inside grep -q '^CapEff:\s*0*$' "/proc/$(property oddline MainPID)/status" && inside grep -q '^Seccomp:\s*2$' "/proc/$(property oddline MainPID)/status"
}
unit_restarts() {
    inside systemctl restart oddline || told oddline || return 1
    events 100 12001 | unit_post >"$work/unit.again" || told oddline || return 1
    grep -q '"state":"learning"' "$work/unit.again" && { echo "it learns anew"; return 1; }
    inside timeout 20 systemctl stop oddline || told oddline || return 1
    is_property oddline Result success && is_property oddline ExecMainStatus 0 || told oddline || return 1
    has_unit_learned 12101 /var/lib/oddline || { unit_learned /var/lib/oddline; return 1; }
    inside runuser -u oddline -- oddline doctor --data-dir /var/lib/oddline
}
# hurt SIGNAL: the sidecar is started again by itself.
unit_survives() {
    inside systemctl start oddline || told oddline || return 1
    local before; before=$(property oddline NRestarts)
    inside systemctl kill --kill-whom=main -s "$1" oddline
    until_true 30 is_property oddline NRestarts $((before + 1)) && until_true 30 is_property oddline SubState running || told oddline || return 1
    events 10 20000 | unit_post | grep -c '"anomaly":{' | grep -qx 10 || told oddline
}
unit_hangs() {
    # The unit's half a minute is longer than a test should take.
    inside mkdir -p /run/systemd/system/oddline.service.d
    printf '[Service]\nWatchdogSec=2\n' | inside tee /run/systemd/system/oddline.service.d/watchdog.conf >/dev/null
    inside systemctl daemon-reload && inside systemctl restart oddline || told oddline || return 1
    # While it works it is left alone.
    sleep 5
    is_property oddline NRestarts 0 || told oddline || return 1
    unit_survives STOP && inside systemctl stop oddline
}
# journal_lines: text lines into the journal, of the service `checkout`.
journal_lines() {
    inside tee /run/lines >/dev/null
    inside systemctl start checkout
}
unit_journal_fails() {
    echo 'no cursor' | inside tee /var/lib/oddline/journald.cursor >/dev/null
    [ "$(property oddline-journal NRestarts)" -gt 0 ]
}
unit_journal() {
    { lines 12000; echo "$odd_line"; } | journal_lines || return 1
    inside systemctl start oddline-journal || told oddline-journal || return 1
    until_true 60 inside grep -q 'pool exhausted' /var/log/oddline/odd.ndjson || told oddline-journal || return 1
    inside grep 'pool exhausted' /var/log/oddline/odd.ndjson | grep -q '"_SYSTEMD_UNIT":"checkout.service"' || return 1
    inside systemctl restart oddline-journal || told oddline-journal || return 1
    echo "n12002 ERROR payment: certificate of bank-7 expired 3 days ago" | journal_lines || return 1
    until_true 60 inside grep -q 'certificate' /var/log/oddline/odd.ndjson || told oddline-journal || return 1
    [ "$(inside grep -c 'pool exhausted' /var/log/oddline/odd.ndjson)" = 1 ] || { echo "it did not go on where it was"; return 1; }
    # A journalctl that fails ends the pipe with success: the unit starts again, and reads on once there is something to go on from.
    inside cp /var/lib/oddline/journald.cursor /run/cursor
    until_true 30 unit_journal_fails || told oddline-journal || return 1
    inside cp /run/cursor /var/lib/oddline/journald.cursor
    until_true 30 is_property oddline-journal SubState running || told oddline-journal || return 1
    inside timeout 20 systemctl stop oddline-journal || told oddline-journal || return 1
    is_property oddline-journal Result success || told oddline-journal || return 1
    # Beside the sidecar: one directory above them both, of one mode, and neither is in the other's way.
    [ "$(inside stat -c '%U %a' /var/lib/oddline)" = "oddline 700" ] || { inside ls -la /var/lib/oddline; return 1; }
    inside runuser -u oddline -- oddline doctor --data-dir /var/lib/oddline && inside runuser -u oddline -- oddline doctor --data-dir /var/lib/oddline/journald
}

# The Puppet module of config-examples/fleet, of the release whose files are in $puppet_from.
puppet_from=/opt/oddline-e2e
unit_puppet() {
    # Whatever stands there already is not the module's.
    inside rm -f /usr/bin/oddline /usr/lib/systemd/system/oddline.service /usr/lib/sysusers.d/oddline.conf
    mkdir -p "/proc/$init/root$puppet_from" && release "/proc/$init/root$puppet_from" 1.0.0 || return 1
    # 2: something changed. 6: and something failed.
    puppet_runs "{ 'alert_budget' => 0.01 }" 2 && is_unit oddline enabled active || return 1
    # What runs and starts at boot is nothing, once the check refused what is there now.
    puppet_runs "{ 'alert_bugdet' => 0.01 }" 6 && is_unit oddline disabled inactive || return 1
    puppet_runs "{ 'alert_budget' => 0.02 }" 2 && is_unit oddline enabled active || return 1
    inside systemctl disable --now oddline
}
# puppet_runs CONFIG CODE
puppet_runs() {
    local told
    inside env HOME=/root puppet apply --detailed-exitcodes --color=false --confdir=/run/puppet --vardir=/run/puppet-var --modulepath=/usr/share/oddline-puppet \
        -e "class { 'oddline': version => '1.0.0', source => 'file://$puppet_from/1.0.0', config => $1, serve => { 'http' => { 'listen' => '$unit_http' } } }" >"$work/puppet.log" 2>&1
    told=$?
    [ $told = "$2" ] || { echo "told $told"; tail -20 "$work/puppet.log"; told oddline; }
}
is_unit() {
    local enabled active
    enabled=$(inside systemctl is-enabled "$1") active=$(inside systemctl is-active "$1")
    [ "$enabled $active" = "$2 $3" ] || { echo "expected the unit to be $2 and $3, found $enabled and $active"; return 1; }
}

if [ "$(id -u)" != 0 ] || [ ! -x /lib/systemd/systemd ] || ! command -v unshare >/dev/null || ! command -v curl >/dev/null; then
    skip "systemd: it takes root, systemd, unshare and curl"
elif [ -z "$(cgroups)" ] || ! mkdir "$(cgroups)/oddline-e2e-$$-try" 2>/dev/null || ! rmdir "$(cgroups)/oddline-e2e-$$-try"; then
    skip "systemd: control groups (version 2) cannot be made here"
elif ! unshare --fork --pid --mount --uts --ipc --net --cgroup sh -c "mount -t tmpfs tmpfs '$work' && mkdir '$work/u' '$work/w' '$work/r' && mount -t overlay overlay -o 'lowerdir=/,upperdir=$work/u,workdir=$work/w' '$work/r'" 2>/dev/null; then
    skip "systemd: namespaces with an overlay cannot be made here"
elif ! need_oddline; then
    fail "systemd: oddline does not build"
else
    if boot; then
        check "oddline.service starts, scores 12,001 events, and its data dir is its user's alone" unit_starts
        check "it has what it learned after a restart, and a stop is clean" unit_restarts
        check "killed, it is started again" unit_survives KILL
        check "hung, the watchdog has it started again" unit_hangs
        check "oddline-journal.service reads the journal, and after a restart goes on where it was, beside the sidecar" unit_journal
        if command -v puppet >/dev/null; then
            check "the Puppet module: what its check refused neither runs nor starts at boot, until it is put right" unit_puppet
        else
            skip "the Puppet module under systemd: no puppet (the Debian package)"
        fi
    else
        fail "systemd: it does not come up"; tail -20 "$work/systemd.log"
    fi
    shut_down
fi
