# The stages of ./quickstart check, sourced by it: build_tree, say, top and jobs come from there.
#
# A stage is a function: 0 passed, 77 skipped (it has said why), else failed. Where it runs tests one by one it leaves
# what they reported, as .trs or .tap files, below $here; else the stage itself is one test. A stage whose files do
# not exist in this tree does not run and is not counted.
# shellcheck shell=bash disable=SC2154

results=$top/check-results
stage_limit=${STAGE_LIMIT:-2400}  # seconds; a hang is a failure, not a lost night
fuzz_seconds=${FUZZ_SECONDS:-15}  # a target

limited() { timeout --foreground -k 20 "$stage_limit" "$@"; }

stage() {
    local name=$1 begin=$SECONDS status=0 verdict
    shift
    here=$results/${name// /-}
    mkdir -p "$here"
    say "=== $name"
    "$@" </dev/null || status=$?
    case $status in
        0) verdict=PASS ;;
        77) verdict=SKIP ;;
        *) verdict=FAIL ;;
    esac
    # Not counted twice: a failed stage that left a failed test says nothing more.
    if [[ $verdict == FAIL ]] && "$top/tests/summary" -q "$here" || ! "$top/tests/summary" -q --any "$here"; then
        echo ":test-result: $verdict stage $name" >"$here/stage.trs"
    fi
    printf '=== %s: %s, %d s\n' "$name" "$verdict" $((SECONDS - begin))
}

# check_tree DIR "configure options": make check there, its reports copied.
check_tree() {
    local status=0
    build_tree "$1" "$2" all || return
    find "$1/tests" \( -name '*.trs' -o -name '*.log' \) -delete
    limited make -C "$1" --no-print-directory -j"$jobs" -k check || status=$?
    (cd "$1" && find tests \( -name '*.trs' -o -name '*.log' \) -newer .configured -exec cp --parents -t "$here" {} +)
    ((status == 0)) || find "$here" -name '*.log' -exec grep -l -E '^(not ok|FAIL|ERROR)' {} + |
        while read -r log; do printf '%s\n' "--- $log"; tail -n 60 "$log"; done
    return "$status"
}

stage_build() { build_tree build-check --enable-werror all; }
stage_tests() { check_tree build-check --enable-werror; }
stage_sanitizers() { check_tree build-asan --enable-sanitizers; }
stage_threads() { check_tree build-tsan --enable-tsan; }

stage_manuals() {
    command -v mandoc >/dev/null || { echo "mandoc is not installed"; return 77; }
    local page name verdict status=0
    for page in man/*.[1-9]; do
        name=${page##*/}
        verdict=PASS
        mandoc -Tlint -W warning "$page" || { verdict=FAIL; status=1; }
        echo ":test-result: $verdict mandoc $name" >"$here/$name.trs"
    done
    return "$status"
}

stage_install() {
    local root left modules
    root=$(mktemp -d) || return
    make -C build-check --no-print-directory -s install DESTDIR="$root" >/dev/null &&
        find "$root" -type f -printf '/%P\n' | sort &&
        "$root/usr/local/sbin/msslproxy" -V &&
        "$root/usr/local/bin/mssl" --version &&
        modules=$root$(pkg-config --variable=modulesdir libcrypto) &&
        OPENSSL_MODULES=$modules OPENSSL_CONF=$modules/mssl.cnf openssl list -providers | grep -q '^  mssl$' &&
        grep -q /usr/local/etc/mssl/msslproxy.toml "$root/usr/local/share/man/man8/msslproxy.8" &&
        grep -q /usr/local/etc/mssl/msslproxy.toml "$root/usr/local/lib/systemd/system/msslproxy.service" &&
        make -C build-check --no-print-directory -s uninstall DESTDIR="$root" >/dev/null &&
        left=$(find "$root" -type f) || return
    rm -rf "$root"
    [[ -z $left ]] || { echo "make uninstall leaves: $left"; return 1; }
}

# A released tarball holds every file and builds, tests included, from nothing else.
stage_tarball() {
    local dir absent
    dir=$(mktemp -d) || return
    make -C build-check --no-print-directory -s distdir distdir="$dir/mssl" >/dev/null || return
    absent=$(git ls-files 2>/dev/null | while read -r file; do [[ -e $dir/mssl/$file ]] || echo "$file"; done)
    [[ -z $absent ]] || { echo "in git but not in the tarball (EXTRA_DIST):"; echo "$absent"; return 1; }
    (cd "$dir/mssl" && build_tree build --enable-werror TESTS= check) >"$here/log" 2>&1 || { tail -n 40 "$here/log"; return 1; }
    chmod -R u+w "$dir" && rm -rf "$dir"
}

clang() {
    local name
    for name in "$1" "$1"-{20,19,18,17,16,15,14}; do command -v "$name" && return; done
    return 1
}

stage_fuzz() {
    local cc cxx
    if ! cc=$(clang clang) || ! cxx=$(clang clang++); then
        echo "no clang++: fuzzing is skipped"
        return 77
    fi
    CC=$cc CXX=$cxx build_tree build-fuzz --enable-fuzzers fuzzers || return
    local program name status=0 verdict
    local -a corpus
    for program in build-fuzz/tests/fuzz/fuzz_*; do
        [[ -x $program && $program != *.o ]] || continue
        name=${program##*/fuzz_}
        corpus=(build-fuzz/corpus/"$name")
        mkdir -p "${corpus[0]}" build-fuzz/crashes
        [[ ! -d tests/fuzz/corpus/$name ]] || corpus+=(tests/fuzz/corpus/"$name")
        printf 'fuzz_%s: ' "$name"
        verdict=PASS
        limited "$program" -max_total_time="$fuzz_seconds" -timeout=25 -rss_limit_mb=3072 -print_final_stats=1 \
            -artifact_prefix="build-fuzz/crashes/$name-" "${corpus[@]}" >"$here/$name.log" 2>&1 ||
            { verdict=FAIL; status=1; }
        if [[ $verdict == PASS ]]; then
            sed -n 's/^stat::number_of_executed_units: *\([0-9]*\)/\1 inputs/p' "$here/$name.log"
        else
            echo failed
            tail -n 60 "$here/$name.log"
        fi
        echo ":test-result: $verdict fuzz_$name" >"$here/$name.trs"
    done
    return "$status"
}

stage_mutants() {
    JOBS=$jobs limited make -C build-check --no-print-directory -s -j"$jobs" check-mutants | tee "$here/mutants.tap"
    return "${PIPESTATUS[0]}"
}

stage_demo() { MSSL_BUILD=$top/build-check limited tests/e2e/demo; }

stage_e2e() {
    MSSL_BUILD=$top/build-check limited tests/e2e/run-all | tee "$here/e2e.tap"
    return "${PIPESTATUS[0]}"
}

run_stages() {
    set +e
    rm -rf "$results"
    stage "build" stage_build
    if ! grep -q PASS "$results/build/stage.trs"; then exec tests/summary "$results"; fi
    stage "tests" stage_tests
    if compgen -G 'man/*.[1-9]' >/dev/null; then stage "manuals" stage_manuals; fi
    stage "install" stage_install
    if git ls-files >/dev/null 2>&1; then stage "tarball" stage_tarball; fi
    stage "sanitizers" stage_sanitizers
    if grep -q '^THREAD_TESTS *+=' tests/local.mk tests/*/local.mk; then stage "threads" stage_threads; fi
    if compgen -G 'tests/fuzz/fuzz_*.cpp' >/dev/null; then stage "fuzz" stage_fuzz; fi
    if [[ -x tests/mutants/run ]]; then stage "mutants" stage_mutants; fi
    if [[ -x tests/e2e/demo ]]; then stage "demo" stage_demo; fi
    if [[ -x tests/e2e/run-all ]]; then stage "e2e" stage_e2e; fi
    say "=== all of it: $SECONDS s"
    exec tests/summary "$results"
}
