# Isthmus as a target of ../shared/bench/bench-gateway.sh, which sources this file:
#   TARGETS=$PWD/integration/bench ../shared/bench/bench-gateway.sh isthmus s2x-max
# It is built from the checkout that this file is in, as README.md says, and logs at its default level to a file. The searches of the highest rate
# go on to 90,000 and 120,000 a second, where the script ends at 60,000; SEARCH_FLAGS="-search 40000:60000" has others.
PIDNAME=isthmus SIP_TARGET=$GW_IP:5060
ISTHMUS_ROOT=$(cd "$TARGETS/../.." && pwd)
gw_start() {
	[ -z "$SEARCH_FLAGS" ] || [ -n "$farther" ] || farther=no
	if [ "$farther" != no ]; then
		farther=yes SEARCH_FLAGS=
		case $m in
		s2x) SEARCH_FLAGS="-search ${LO:-2000}:90000" ;;
		x2s) SEARCH_FLAGS="-search ${LO:-2000}:120000" ;;
		esac
	fi
	(cd "$ISTHMUS_ROOT" && CGO_ENABLED=0 go build -trimpath -pgo=cmd/isthmus/serve.pgo -o "$RUN/isthmus" ./cmd/isthmus) || return 1
	export ISTHMUS_BENCH_SECRET=$COMPONENT_SECRET
	rm -rf "$RUN/store"
	sed "s#/var/tmp/isthmus-bench#$RUN/store#" "$ISTHMUS_ROOT/configs/bench.yaml" > "$RUN/isthmus.yaml"
	# "ip netns exec" hides /sys/fs/cgroup, where the gateway reads what memory it may have; nsenter does not.
	(exec ${LAB_NS:+nsenter --net="/run/netns/$LAB_NS"} ${CPUS:+taskset -c "$CPUS"} "$RUN/isthmus" serve -c "$RUN/isthmus.yaml") \
		>"$LOGS/isthmus.log" 2>&1 </dev/null &
	echo $! >"$PIDS/isthmus.pid"
	sleep 1
	running isthmus || { tail -n 20 "$LOGS/isthmus.log"; return 1; }
}
gw_stop() { "$LAB_DIR/down.sh" isthmus; }
