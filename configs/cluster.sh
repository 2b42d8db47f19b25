#!/bin/bash
# Three gateways on this machine that act as one: bash configs/cluster.sh [DIRECTORY]. Needs a built isthmus (ISTHMUS, default: ./isthmus) and the
# component's secret in ISTHMUS_COMPONENT_SECRET. SIP is at 127.0.7.1, .2 and .3, port 5060, any of them. Their logs are DIRECTORY/N/log; end one with
# kill -9 $(cat DIRECTORY/1/pid), and start it again with this script: it starts those that do not run. Ctrl-C ends them all.
set -eu
cd "$(dirname "$0")"
isthmus=$(realpath "${ISTHMUS:-../isthmus}")
dir=${1:-$(mktemp -d /tmp/isthmus-cluster.XXXXXX)}
: "${ISTHMUS_COMPONENT_SECRET:?is the secret of the component sip.test}"
# A gateway that is told to end hands its parts on first, and ends within limits.drain (30 s) and some seconds. From here on a signal leaves none behind.
trap 'mine=$(jobs -p); [ -z "$mine" ] || kill $mine 2>/dev/null || true; wait; exit 0' INT TERM
for n in 1 2 3; do
	mkdir -p "$dir/$n"
	if [ -f "$dir/$n/pid" ] && kill -0 "$(cat "$dir/$n/pid")" 2>/dev/null; then
		continue
	fi
	(umask 077 && printf '%s\n' "$ISTHMUS_COMPONENT_SECRET" >"$dir/$n/component.secret")
	sed -e "s|127\.0\.7\.1:5060|127.0.7.$n:5060|; s|node: node1|node: node$n|; s|/var/lib/isthmus/1|$dir/$n|g; s|/run/isthmus/1|$dir/$n|" cluster.yaml >"$dir/$n/isthmus.yaml"
	"$isthmus" serve -c "$dir/$n/isthmus.yaml" >>"$dir/$n/log" 2>&1 &
	echo $! >"$dir/$n/pid"
done
echo "three gateways in $dir; what waits: $isthmus queue list -c $dir/1/isthmus.yaml"
wait
