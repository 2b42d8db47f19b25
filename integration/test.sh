#!/bin/sh
# Everything that must hold before a change lands: installs what the tests need (as root), then checks and tests the whole tree.
# Usage: sh integration/test.sh
set -eu
cd "$(dirname "$0")/.."
sh integration/install.sh

# With CI set, a test whose program is missing fails instead of being skipped.
export CI=true

echo '== format'
unformatted=$(go tool gofumpt -l adapters cmd configs cpim gateway integration internal pidf resolver)
[ -z "$unformatted" ] || { printf 'gofumpt would change:\n%s\n' "$unformatted"; exit 1; }
echo '== vet'
go vet ./...
echo '== staticcheck'
go tool staticcheck ./...
echo '== module'
go mod verify
go mod tidy -diff
echo '== build, one static binary'
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$bin/isthmus" ./cmd/isthmus
echo '== demo'
"$bin/isthmus" demo >"$bin/demo.txt" || { cat "$bin/demo.txt"; exit 1; }
tail -n 1 "$bin/demo.txt"
echo '== test'
# The package that takes longest begins first: it waits for servers most of the time, and what would be left for the end is the rest of it.
go test -race -shuffle=on -timeout 20m ./integration ./...
