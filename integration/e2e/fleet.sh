# The Ansible role of config-examples/fleet, on scratch roots of this machine. Needs ansible-playbook: beside ODDLINE_PYTHON, or in PATH.
. "$here/common.sh"

# play BOOK LOG ARGUMENTS…
play() {
    local book=$1 log=$2; shift 2
    (cd "$root/config-examples/fleet/ansible" && ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_NOCOLOR=1 ANSIBLE_HOME=$fleet/ansible \
        "$ansible" -i "$fleet/inventory" "$book" "$@" >"$log" 2>&1)
}
roll() { play site.yml "$@"; }

# recap LOG KEY: the figures of all hosts.
recap() { sed -n '/PLAY RECAP/,$p' "$1" | grep -oE "$2=[0-9]+" | cut -d= -f2 | paste -sd,; }

fleet_prepare() {
    fleet=$work/fleet
    mkdir -p "$fleet/releases"
    release "$fleet/releases" 1.0.0 && release "$fleet/releases" 1.1.0 || return 1
    {
        echo '[oddline]'
        for host in host-1 host-2 host-3; do
            mkdir -p "$fleet/$host/var/tmp"
            echo "$host ansible_connection=local oddline_root=$fleet/$host"
        done
        printf '[oddline_donors]\nhost-2\nhost-3\n[all:vars]\n'
        printf 'ansible_python_interpreter=%s\noddline_become=false\noddline_manage_service=false\n' "$(dirname "$ansible")/python"
    } >"$fleet/inventory"
    [ -x "$(dirname "$ansible")/python" ] || sed -i '/ansible_python_interpreter/d' "$fleet/inventory"
}

with() { echo "-e oddline_version=$1 -e oddline_tarball=$fleet/releases/$1.tar.gz"; }

fleet_twice() {
    # shellcheck disable=SC2046
    roll "$fleet/first" $(with 1.0.0) || { tail -30 "$fleet/first"; return 1; }
    [ "$(recap "$fleet/first" failed)" = 0,0,0 ] || return 1
    for host in host-1 host-2 host-3; do
        "$fleet/$host/usr/bin/oddline" --version && [ -s "$fleet/$host/etc/oddline/oddline.json" ] || return 1
        [ "$(readlink "$fleet/$host/opt/oddline/current")" = 1.0.0 ] || return 1
        # Nothing has run on it: the role made it.
        [ "$(stat -c %a "$fleet/$host/var/lib/oddline")" = 700 ] || { ls -la "$fleet/$host/var/lib"; return 1; }
    done
    # shellcheck disable=SC2046
    roll "$fleet/second" $(with 1.0.0) || { tail -30 "$fleet/second"; return 1; }
    [ "$(recap "$fleet/second" changed)" = 0,0,0 ] || { grep -B1 -A3 changed: "$fleet/second"; return 1; }
}

fleet_baseline() {
    local host
    for host in host-2 host-3; do
        lines 12000 | "$oddline" score --data-dir "$fleet/$host/var/lib/oddline" >/dev/null || return 1
    done
    play baseline.yml "$fleet/baseline" -e oddline_command="$oddline" -e oddline_baselines="$fleet/baselines" \
        -e oddline_baseline="$fleet/fleet.baseline" || { tail -30 "$fleet/baseline"; return 1; }
    "$oddline" baseline show "$fleet/fleet.baseline" | grep -q 'host-2: 12,000 events' || return 1
    # shellcheck disable=SC2046
    roll "$fleet/third" $(with 1.1.0) -e oddline_baseline="$fleet/fleet.baseline" || { tail -30 "$fleet/third"; return 1; }
    [ "$(readlink "$fleet/host-1/opt/oddline/current")" = 1.1.0 ] || return 1
    # The host that had learned nothing starts from what the others know.
    echo "$odd_line" | "$oddline" score --config "$fleet/host-1/etc/oddline/oddline.json" --data-dir "$fleet/host-1/var/lib/oddline" >"$fleet/scored"
    grep -q '"is_anomaly":true.*"state":"ready"' "$fleet/scored" || { cat "$fleet/scored"; return 1; }
}

# A release whose command does not work: the canary goes back, the others never hear of it.
fleet_back() {
    cp -r "$fleet/releases/1.1.0" "$fleet/releases/2.0.0"
    printf '#!/bin/sh\n[ "$1" = install ] && exec %s "$@" --from "$(dirname "$(dirname "$0")")"\n[ "$1" = doctor ] && { echo "{\\"ok\\": false}"; exit 1; }\nexec %s "$@"\n' \
        "$oddline" "$oddline" >"$fleet/releases/2.0.0/bin/oddline"
    pack "$fleet/releases" 2.0.0
    # shellcheck disable=SC2046
    roll "$fleet/fourth" $(with 2.0.0) -e oddline_baseline="$fleet/fleet.baseline" -e '{"oddline_config": {"partition_by": ["service"]}}' &&
        { echo "a broken release was rolled out"; return 1; }
    grep -q 'host-1 is back at 1.1.0: The check after it' "$fleet/fourth" || { tail -30 "$fleet/fourth"; return 1; }
    [ "$(readlink "$fleet/host-1/opt/oddline/current")" = 1.1.0 ] || return 1
    cmp "$fleet/host-1/usr/bin/oddline" "$oddline" || return 1
    grep -q '"host"' "$fleet/host-1/etc/oddline/oddline.json" || { cat "$fleet/host-1/etc/oddline/oddline.json"; return 1; }
    [ ! -e "$fleet/host-2/opt/oddline/2.0.0" ] || { echo "host-2 got it, too"; return 1; }
}

# What is wrong is told and changes nothing.
fleet_wrong() {
    local before
    before=$(sha256sum "$fleet"/host-1/etc/oddline/* "$fleet/host-1/usr/bin/oddline")
    # shellcheck disable=SC2046
    roll "$fleet/bad" $(with 1.1.0) -e oddline_tarball_sha256=0000 && return 1
    grep -q 'The tarball is the one that is meant' "$fleet/bad" || return 1
    # shellcheck disable=SC2046
    roll "$fleet/bad" $(with 1.1.0) -e '{"oddline_config": {"alert_bugdet": 0.1}}' && return 1
    grep -q 'alert_budget' "$fleet/bad" || { tail -30 "$fleet/bad"; return 1; }
    [ "$before" = "$(sha256sum $(printf '%s\n' "$before" | cut -d' ' -f3))" ]
}

ansible=$(command -v ansible-playbook)
[ -n "${ODDLINE_PYTHON:-}" ] && [ -x "$(dirname "$ODDLINE_PYTHON")/ansible-playbook" ] && ansible=$(dirname "$ODDLINE_PYTHON")/ansible-playbook
if [ -z "$ansible" ]; then
    skip "fleet: no ansible-playbook beside ODDLINE_PYTHON or in PATH (pip install ansible-core)"
elif ! need_oddline; then
    fail "fleet: oddline does not build"
else
    check "three roots to roll out to" fleet_prepare
    check "the role installs, configures and checks three hosts, canary first; a second run changes nothing" fleet_twice
    check "what two hosts learned is exported, merged and shipped, and the third starts from it" fleet_baseline
    check "a release that fails its check is taken back on the canary and goes no further" fleet_back
    check "a wrong checksum and a wrong configuration are told and change nothing" fleet_wrong
fi

# The Puppet module on a scratch root: a second run changes nothing.
# puppet_apply ROOT VERSION CONFIG [MORE-PARAMETERS]
puppet_apply() {
    puppet apply --detailed-exitcodes --color=false --confdir="$1/puppet" --vardir="$1/puppet-var" --modulepath="$root/config-examples/fleet/puppet" \
        -e "class { 'oddline': version => '$2', source => 'file://$fleet/releases/$2', root => '$1', config => $3${4:+, $4} }" >"$1.log" 2>&1
}
puppet_twice() {
    local at=$fleet/puppet-host told
    mkdir -p "$at/opt" "$at/etc"
    puppet parser validate "$root/config-examples/fleet/puppet/oddline/manifests/init.pp" || return 1
    # 0: nothing changed. 2: something did. 4, 6: something failed.
    puppet_apply "$at" 1.0.0 "{ 'partition_by' => ['host'] }"; told=$?
    [ $told = 2 ] && "$at/usr/bin/oddline" --version || { echo "told $told"; tail -20 "$at.log"; return 1; }
    puppet_apply "$at" 1.0.0 "{ 'partition_by' => ['host'] }"; told=$?
    [ $told = 0 ] || { echo "told $told"; cat "$at.log"; return 1; }
    puppet_apply "$at" 1.1.0 "{ 'partition_by' => ['host'] }"; told=$?
    [ $told = 2 ] && grep -q 1.1.0 "$at/lib/systemd/system/oddline.service" "$at/usr/lib/systemd/system/oddline.service" 2>/dev/null || { echo "told $told"; tail -20 "$at.log"; return 1; }
    # The way back, and a configuration that does not pass the check.
    puppet_apply "$at" 1.0.0 "{ 'alert_bugdet' => 0.1 }"; told=$?
    [ $told = 6 ] && grep -q alert_budget "$at.log" || { echo "told $told"; tail -20 "$at.log"; return 1; }
    # What failed is not taken for checked by the next run, in which nothing is new. 4: it failed, and nothing was changed.
    puppet_apply "$at" 1.0.0 "{ 'alert_bugdet' => 0.1 }"; told=$?
    [ $told = 4 ] && grep -q alert_budget "$at.log" || { echo "the second run told $told"; tail -20 "$at.log"; return 1; }
    puppet_apply "$at" 1.0.0 "{ 'alert_budget' => 0.01 }"; told=$?
    [ $told = 2 ] || { echo "put right: told $told"; tail -20 "$at.log"; return 1; }
    puppet_apply "$at" 1.0.0 "{ 'alert_budget' => 0.01 }"; told=$?
    [ $told = 0 ] || { echo "and again: told $told"; tail -20 "$at.log"; return 1; }
}

# What another host has learned comes along: a host that has learned nothing alerts from its first event on.
puppet_baseline() {
    local at=$fleet/puppet-new config="{ 'partition_by' => ['host'] }" more="baseline => '$fleet/donor.baseline'" told
    mkdir -p "$at/opt" "$at/etc" "$at/var/lib"
    lines 12000 | "$oddline" score --data-dir "$fleet/donor" >/dev/null || return 1
    "$oddline" baseline export --data-dir "$fleet/donor" "$fleet/donor.baseline" || return 1
    puppet_apply "$at" 1.0.0 "$config" "$more"; told=$?
    [ $told = 2 ] && cmp "$at/etc/oddline/fleet.baseline" "$fleet/donor.baseline" || { echo "told $told"; tail -20 "$at.log"; return 1; }
    echo "$odd_line" | "$oddline" score --config "$at/etc/oddline/oddline.json" --data-dir "$at/var/lib/oddline" >"$at.scored"
    grep -q '"is_anomaly":true.*"state":"ready"' "$at.scored" || { cat "$at.scored"; return 1; }
    puppet_apply "$at" 1.0.0 "$config" "$more"; told=$?
    [ $told = 0 ] || { echo "a second run told $told"; tail -20 "$at.log"; return 1; }
    # Where nothing was learned yet, one that is none does not pass the check.
    at=$fleet/puppet-newer
    mkdir -p "$at/opt" "$at/etc" "$at/var/lib"
    echo "no baseline" >"$fleet/donor.baseline"
    puppet_apply "$at" 1.0.0 "$config" "$more"; told=$?
    [ $told = 6 ] && grep -q fleet.baseline "$at.log" || { echo "a baseline that is none told $told"; tail -20 "$at.log"; return 1; }
}
if ! command -v puppet >/dev/null; then
    skip "fleet: no puppet (the Debian package)"
elif ! need_oddline; then
    fail "fleet: oddline does not build"
elif [ -z "${fleet:-}" ] && ! { fleet=$work/fleet && mkdir -p "$fleet/releases" && release "$fleet/releases" 1.0.0 && release "$fleet/releases" 1.1.0; }; then
    fail "fleet: no release to roll out"
else
    check "the Puppet module installs, a second run changes nothing, a version is changed, and a wrong configuration is refused until it is put right" puppet_twice
    check "the Puppet module ships what another host has learned, and one that is no baseline does not pass the check" puppet_baseline
fi
