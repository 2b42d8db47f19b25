#!/bin/bash
# sizes.sh [conversations|bodies|streams...]   what a message costs against the size of what is done, as a table (default: all three)
#
# Messages at a fixed rate through a gateway with its store, one core for it and one for the load driver (GW_CPUS=0 LG_CPUS=1), between
#   conversations   100, 1,000 and 100,000 pairs of users, RATE (8000) a second, until each has had a message;
#   bodies          texts of 100 octets to 60,000: over UDP as long as a request may be that large there, and over TCP; at most
#                   OCTETS (20,000,000) of text and RATE a second;
#   streams         1 to 2,000 streams to servers in turn, each with TLS and XEP-0198: BenchmarkServerStreams, whose figures are of both ends.
# Needs what ../shared/bench needs (BENCH: where that is). TIME (3s) is how long each row is on; all of it takes less than six minutes.
BENCH=${BENCH:-$(cd "$(dirname "$0")/../../.." && pwd)/shared/bench}
[ -d "$BENCH" ] || BENCH=/work/shared/bench
. "$BENCH/env.sh"
TARGETS=$(cd "$(dirname "$0")" && pwd)
. "$TARGETS/isthmus.sh"
RATE=${RATE:-8000} OCTETS=${OCTETS:-20000000} TIME=${TIME:-3s}
export CPUS=${GW_CPUS-0}
# With TCP=1 the gateway listens for SIP over TCP too, and sends over it, what is over 1300 octets as well.
nsx_bg_plain=$(declare -f nsx_bg)
eval "plain_${nsx_bg_plain}"
nsx_bg() {
    [ -n "$TCP" ] && sed -i "s#^\(  *\)- {transport: udp, address: \(.*\)}#&\n\1- {transport: tcp, address: \2}#; s#;transport=udp#;transport=tcp#; 0,/domains: .sip.test./s#^\( *\)domains: .sip.test.#&\n\1large_messages: true#" "$RUN/isthmus.yaml"
    plain_nsx_bg "$@"
}
ns_up
(cd "$BENCH/loadgen" && go build -o "$RUN/loadgen" .) || exit 1
OUT=$RUN/sizes.jsonl
trap 'gw_stop >/dev/null 2>&1' EXIT

field() { # field NAME: a number of the last line of $OUT
    tail -n 1 "$OUT" | grep -o "\"$1\":[0-9.e+-]*" | head -n 1 | cut -d: -f2
}
part() { # part OBJECT NAME: a number of an object in it
    tail -n 1 "$OUT" | grep -o "\"$1\":{[^}]*}" | grep -o "\"$2\":[0-9.e+-]*" | cut -d: -f2
}
row() { # row WHAT SIZE MODE RATE PROTOCOL FLAGS...
    local what=$1 size=$2 mode=$3 rate=$4 proto=$5
    shift 5
    gw_stop >/dev/null 2>&1
    gw_start >/dev/null || { echo "the gateway does not start: see $LOGS/isthmus.log"; exit 1; }
    rm -f "$OUT"
    nsx ${LG_CPUS:+taskset -c "$LG_CPUS"} timeout 30 "$RUN/loadgen" -sip-target "$SIP_TARGET" -pidfile "$PIDS/isthmus.pid" -out "$OUT" -label "$what" \
        -mode "$mode" -rate "$rate" -dur "${FOR:-$TIME}" -warm 500ms -quiet 99 -pause 0s -tick 500us "$@" </dev/null >> "$LOGS/sizes.log" 2>&1
    if [ ! -s "$OUT" ]; then
        printf '%-14s %8s %-4s %-4s %7s  no result: see %s\n' "$what" "$size" "$mode" "$proto" "$rate" "$LOGS/sizes.log"
        return
    fi
    printf '%-14s %8s %-4s %-4s %7s %7.0f %7s %9.1f %9.0f %9.0f %8.0f  %s\n' "$what" "$size" "$mode" "$proto" "$rate" "$(field delivered_rate)" "$(field lost)" \
        "$(part cpu cpu_s_per_1000 | awk '{print $1 * 1000}')" "$(part e2e p50_us)" "$(part e2e p99_us)" "$(part mem pss_sum_mib)" \
        "$(tail -n 1 "$OUT" | grep -q '"pass":true' && echo whole || echo NOT WHOLE)"
}
heading() { printf '%-14s %8s %-4s %-4s %7s %7s %7s %9s %9s %9s %8s\n' '' size way over offered deliv. lost 'CPU µs' 'p50 µs' 'p99 µs' MiB; }

conversations() {
    heading
    for n in 100 1000 100000; do
        # Each pair at least once.
        local FOR=$TIME
        [ $((n / RATE)) -ge "${TIME%%[!0-9]*}" ] && FOR=$((n / RATE + 1))s
        for mode in s2x x2s; do row conversations $n $mode "$RATE" udp -senders $n; done
    done
}

bodies() {
    heading
    for proto in ${PROTOCOLS:-udp tcp}; do
        local sizes='100 300'
        [ $proto = tcp ] && sizes='100 1000 4000 16000 60000' && TCP=1
        for n in $sizes; do
            local rate=$((OCTETS / n < RATE ? OCTETS / n : RATE))
            for mode in s2x x2s; do row body $n $mode $rate $proto -body $n -sip-proto $proto; done
        done
    done
    TCP=
}

streams() {
    (cd "$ISTHMUS_ROOT/adapters/xmpp" && go test -c -o "$RUN/streams.test" . &&
        ${CPUS:+taskset -c "$CPUS"} "$RUN/streams.test" -test.run '^$' -test.bench '^BenchmarkServerStreams$' -test.benchtime 20000x -test.timeout 120s) |
        awk '/^Benchmark/ {
            split($1, name, "="); sub(/-.*/, "", name[2])
            for (i = 3; i < NF; i++) { if ($(i+1) == "messages/s") rate = $i; if ($(i+1) == "CPU-µs/message") cpu = $i }
            printf "%-14s %8s %-4s %-4s %7s %7.0f %7s %9.1f  both ends, 256 callers\n", "streams", name[2], "", "tls", "", rate, 0, cpu
        } /FAIL/'
}

for part in ${*:-conversations bodies streams}; do $part; done
