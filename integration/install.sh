#!/bin/sh
# Installs the Debian packages that the tests need (packages.txt beside this file). Run as root; does nothing when all are there.
# None of the services is started: the tests start their own copies with their own configuration on loopback.
set -eu
here=$(dirname "$0")
wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/packages.txt")
missing=
for p in $wanted; do
	dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: run as root to install:$missing" >&2; exit 1; }

# Debian's maintainer scripts ask policy-rc.d before they start a service; 101 is "forbidden". One that was there stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update -q
# shellcheck disable=SC2086 # a list of words
apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends $missing
