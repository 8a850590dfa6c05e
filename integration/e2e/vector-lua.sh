# The Lua module in a stock Vector. Under the real interpreter it is tested by `cargo test -p oddline-vector-lua`.
. "$here/common.sh"

lua_module() {
    [ -n "${module:-}" ] || module=$("$root/integration/vector-lua/release") || return 1
}

# lua_fit EXAMPLE DIR: an example with the module where it looks for it.
lua_fit() {
    fit "$1" "$2" || return 1
    cp "$module" "$2/lib/oddline_native.so"
    cp "$root/integration/vector-lua/oddline.lua" "$2/lib/"
}

lua_validate() {
    local dir=$work/lua-validate
    lua_module && lua_fit "$1" "$dir" || return 1
    "$VECTOR_BIN" validate --skip-healthchecks "$fitted" || return 1
    [ ! -e "$dir/data/oddline" ] || { echo "the data dir was opened"; return 1; }
    sed -i 's/data_dir = \(.*\)oddline",/data_dir = \1oddline", dat_dir = 1,/' "$fitted"
    "$VECTOR_BIN" validate --skip-healthchecks "$fitted" >"$dir/told" 2>&1 && { echo "a wrong key is accepted"; return 1; }
    grep -q dat_dir "$dir/told" || { cat "$dir/told"; return 1; }
}

# The example between standard input and output.
lua_order() {
    local dir=$work/lua-order
    lua_module && lua_fit lua-minimal.toml "$dir" || return 1
    sed -i -e '/^journalctl_path/d' -e 's|^type = "journald"|type = "stdin"\ndecoding.codec = "json"|' -e 's|^inputs = \["odd"\]|inputs = ["oddline"]|' "$fitted"
    { events 20000; echo "$odd_event"; } | timeout 120 "$VECTOR_BIN" --quiet --config "$fitted" >"$dir/out" || return 1
    [ "$(grep -c '"anomaly":{' "$dir/out")" = 20001 ] || { wc -l "$dir/out"; return 1; }
    [ "$(grep -oE '"n":-?[0-9]+' "$dir/out" | cut -d: -f2 | paste -sd,)" = "$(seq 0 19999 | paste -sd,),-1" ] || { echo "lost or reordered"; return 1; }
    tail -1 "$dir/out" | grep -q '"is_anomaly":true' || { tail -1 "$dir/out"; return 1; }
    events 1 7 | timeout 120 "$VECTOR_BIN" --quiet --config "$fitted" | tee "$dir/again" | grep -q '"state":"ready"' || { cat "$dir/again"; return 1; }
}

# The example as it is: a journal in, the odd lines out.
lua_example() {
    local dir=$work/lua-example
    lua_module && lua_fit lua-minimal.toml "$dir" || return 1
    run_vector "$VECTOR_BIN" "$fitted" "$dir/log"
    { lines 12000; echo "$odd_line"; } | journal >>"$dir/logs/journal"
    until_true 60 grep -q 'pool exhausted' "$dir/log" || { tail -3 "$dir/log"; return 1; }
    end $vector
    [ "$(wc -l <"$dir/log")" -le 24 ] || { wc -l "$dir/log"; return 1; }
}

# lua_file DIR KEYS: a file in, a file out.
lua_file() {
    local dir=$1
    mkdir -p "$dir/data" "$dir/logs" "$dir/lib"
    # Once: a library that is written over while it is loaded takes its process down.
    [ -e "$dir/lib/oddline_native.so" ] || cp "$module" "$dir/lib/oddline_native.so"
    [ -e "$dir/lib/oddline.lua" ] || cp "$root/integration/vector-lua/oddline.lua" "$dir/lib/"
    cat >"$dir/vector.toml" <<CONFIG
$(file_source "$dir" "$dir/data")
[transforms.oddline]
type = "lua"
version = "2"
inputs = ["logs"]
search_dirs = ["$dir/lib"]
source = '''
package.cpath = "$dir/lib/?.so;" .. package.cpath
oddline = require("oddline").new { data_dir = "$dir/data/oddline", $2 }
'''
hooks = { init = "oddline.init", process = "oddline.process", shutdown = "oddline.shutdown" }
timers = [{ interval_seconds = 1, handler = "oddline.timer" }]
[sinks.out]
type = "file"
inputs = ["oddline"]
path = "$dir/out.ndjson"
encoding.codec = "json"
CONFIG
}

lua_reload() {
    local dir=$work/lua-reload
    lua_module && lua_file "$dir" "learning_events = 1000" || return 1
    run_vector "$VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    lines 3000 >"$dir/logs/in.log"
    until_true 60 has_lines 3000 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    lua_file "$dir" 'learning_events = 1000, fields = "full"'
    kill -HUP $vector; sleep 2
    lines 10 3000 >>"$dir/logs/in.log"
    until_true 60 has_lines 3010 "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    tail -1 "$dir/out.ndjson" | grep '"detectors"' | grep -q '"state":"ready"' || { tail -1 "$dir/out.ndjson"; return 1; }
    lua_file "$dir" 'nonsense = 1'
    kill -HUP $vector; sleep 2
    lines 1 3010 >>"$dir/logs/in.log"
    until_true 60 has_lines 3011 "$dir/out.ndjson" || { echo "a failed reload stopped it"; tail -3 "$dir/log"; return 1; }
    end $vector
    in_order "$dir/out.ndjson" 3011 || { echo "lost, doubled or reordered"; return 1; }
}

# kill -9: acknowledgements end at a Lua transform, so lines may be lost; what was learned is sound, and scoring goes on.
lua_kill() {
    local dir=$work/lua-kill round
    lua_module && lua_file "$dir" "learning_events = 1000" || return 1
    for round in 0 1 2; do
        lines 3000 $((round * 3000)) >>"$dir/logs/in.log"
        run_vector "$VECTOR_BIN" "$dir/vector.toml" "$dir/log"
        sleep 3; kill -9 $vector; wait $vector 2>/dev/null
    done
    "$oddline" doctor --data-dir "$dir/data/oddline" || return 1
    run_vector "$VECTOR_BIN" "$dir/vector.toml" "$dir/log"
    lines 1 9000 >>"$dir/logs/in.log"
    until_true 60 grep -q '"message":"n9000 ' "$dir/out.ndjson" || { tail -3 "$dir/log"; return 1; }
    end $vector
    tail -1 "$dir/out.ndjson" | grep -q '"state":"ready"'
}

if [ -z "${VECTOR_BIN:-}" ]; then
    skip "the Lua module in Vector: VECTOR_BIN is not set"
elif ! need_oddline; then
    fail "the Lua module in Vector: oddline does not build"
else
    for example in lua-minimal.toml lua-minimal.yaml; do
        check "vector validate $example opens nothing and refuses a wrong key" lua_validate $example
    done
    check "20,000 events come out scored and in order, and what was learned is there after a restart" lua_order
    check "the example, on a journal: the odd lines come out" lua_example
    check "SIGHUP with other options, and with options that fail, keeps what was learned" lua_reload
    check "three kill -9: the data dir is sound and scoring goes on" lua_kill
fi
