# Isthmus as a target of ../shared/bench/bench-gateway.sh, which sources this file:
#   TARGETS=$PWD/integration/bench ../shared/bench/bench-gateway.sh isthmus s2x-max
# It is built from the checkout that this file is in, and logs at its default level to a file.
PIDNAME=isthmus SIP_TARGET=$GW_IP:5060
ISTHMUS_ROOT=$(cd "$TARGETS/../.." && pwd)
gw_start() {
	(cd "$ISTHMUS_ROOT" && CGO_ENABLED=0 go build -trimpath -o "$RUN/isthmus" ./cmd/isthmus) || return 1
	export ISTHMUS_BENCH_SECRET=$COMPONENT_SECRET
	rm -rf "$RUN/store"
	sed "s#/var/tmp/isthmus-bench#$RUN/store#" "$ISTHMUS_ROOT/configs/bench.yaml" > "$RUN/isthmus.yaml"
	nsx_bg isthmus ${CPUS:+taskset -c "$CPUS"} "$RUN/isthmus" serve -c "$RUN/isthmus.yaml"
	sleep 1
	running isthmus || { tail -n 20 "$LOGS/isthmus.log"; return 1; }
}
gw_stop() { "$LAB_DIR/down.sh" isthmus; }
