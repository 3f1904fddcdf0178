# Shell helpers of the end-to-end tests. A test sources this, then uses $work, free_port, start, wait_for and the makers below; everything
# it started is ended and everything it wrote is removed when it exits.
#
#   srcdir, builddir   from make; else found from this file's place
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=${srcdir:+$(cd "$srcdir" && pwd)}
top=${top:-$(cd "$here/../.." && pwd)}
build=${abs_builddir:-${builddir:-$PWD}}
msslproxy=${MSSLPROXY:-$build/msslproxy}
work=$(mktemp -d "${TMPDIR:-/tmp}/mssl-e2e.XXXXXX")
started=
failures=0

finish() {
    status=$?
    trap - EXIT
    for pid in $started; do kill "$pid" 2>/dev/null || :; done
    for pid in $started; do wait "$pid" 2>/dev/null || :; done
    if [ "$status" -ne 0 ] || [ "$failures" -ne 0 ]; then
        for log in "$work"/*.log; do
            [ -s "$log" ] && { echo "--- $log"; tail -n 30 "$log"; }
        done
    fi
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    [ "$failures" -eq 0 ] || status=1
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

skip() { echo "SKIP: $*"; exit 77; }
need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 || [ -x "/usr/sbin/$tool" ] || skip "no $tool"
    done
}
tell() { echo "# $*"; }
bad() { echo "FAILED: $*"; failures=$((failures + 1)); }

# A TCP port that nobody listens on now. See free_port in harness.py.
free_port() {
    python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1]); from harness import free_port; print(free_port())' "$here"
}

# start NAME COMMAND…: in the background, output to $work/NAME.log, ended with the test. $last_pid is its process.
start() {
    name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    last_pid=$!
    started="$started $last_pid"
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || { echo "not in time: $*"; return 1; }
        sleep 0.05
    done
}
listens() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()' "$1"; }

# make_ca: $work/ca.pem; make_certificate NAME HOST…: $work/NAME.pem (a chain) and $work/NAME.key
make_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=test CA" \
        -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
}
make_certificate() {
    name=$1
    shift
    names=
    for host in "$@"; do
        case $host in
        *[!0-9.]*) names="$names,DNS:$host" ;;
        *) names="$names,IP:$host" ;;
        esac
    done
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null
    printf 'subjectAltName=%s\n' "${names#,}" >"$work/$name.ext"
    openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
        -extfile "$work/$name.ext" -out "$work/$name.pem" 2>/dev/null
}

# start_nginx PORT ROOT [LINES INSIDE server {}]: an unmodified origin
start_nginx() {
    mkdir -p "$work/nginx"
    cat >"$work/nginx.conf" <<EOF
daemon off;
worker_processes 1;
error_log stderr;
pid $work/nginx/pid;
$([ "$(id -u)" -eq 0 ] && echo "user root;")
events { worker_connections 512; }
http {
    access_log $work/nginx/access.log;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    client_max_body_size 0;
    server {
        listen 127.0.0.1:$1;
        root $2;
        ${3:-}
    }
}
EOF
    start nginx "$(command -v nginx || echo /usr/sbin/nginx)" -c "$work/nginx.conf" -e stderr
    wait_for 10 listens "$1"
}
