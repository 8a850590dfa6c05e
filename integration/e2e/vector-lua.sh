# The Lua module in a stock Vector. Under the real interpreter it is tested by `cargo test -p oddline-vector-lua`.
. "$here/common.sh"

lua_vector() {
    local dir=$work/lua-run module
    mkdir -p "$dir/lib" "$dir/data"
    module=$("$root/integration/vector-lua/release") || return 1
    cp "$module" "$dir/lib/oddline_native.so"
    cp "$root/integration/vector-lua/oddline.lua" "$dir/lib/"
    sed -e "s|/usr/lib/oddline|$dir/lib|g" -e "s|/var/lib/vector|$dir/data|g" \
        "$root/config-examples/vector/lua-minimal.toml" >"$dir/vector.toml"
    "$VECTOR_BIN" validate --no-environment "$dir/vector.toml" || return 1
    # The same transform between standard input and output.
    sed -i -e 's|^type = "journald"|type = "stdin"\ndecoding.codec = "json"|' -e 's|^inputs = \["odd"\]|inputs = ["oddline"]|' "$dir/vector.toml"
    events 20000 | timeout 120 "$VECTOR_BIN" --quiet --config "$dir/vector.toml" >"$dir/out" || return 1
    [ "$(grep -c '"anomaly":{' "$dir/out")" = 20000 ] || { wc -l "$dir/out"; return 1; }
    [ "$(grep -o '"n":[0-9]*' "$dir/out" | cut -d: -f2 | paste -sd,)" = "$(seq 0 19999 | paste -sd,)" ]
}

if [ -z "${VECTOR_BIN:-}" ]; then
    skip "the Lua module in Vector: VECTOR_BIN is not set"
else
    check "20,000 events through a stock Vector with the module come out scored and in order" lua_vector
fi
