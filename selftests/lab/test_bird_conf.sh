#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does BIRD take every configuration: those that scripts/lab makes for the 13
# nodes of the testbed, and the examples in bird-conf. Needs no root.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
PATH=$PATH:/usr/sbin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0 failed=0

ok()
{
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
	fi
}

if ! command -v bird >/dev/null; then
	echo "1..0 # SKIP no bird: scripts/deps"
	exit 0
fi

"$top/scripts/lab" configure "$dir"
ok $? "scripts/lab configure writes every file"

for conf in "$dir"/*/bird.conf; do
	bird -p -c "$conf" 2>&1 | sed 's/^/# /'
	ok "${PIPESTATUS[0]}" "bird takes the configuration of $(basename "$(dirname "$conf")")"
done

# the examples as the README says to install them: all in one folder
for example in "$top"/bird-conf/examples/*/; do
	name=$(basename "$example")
	mkdir "$dir/etc-$name"
	cp -r "$top"/bird-conf/*.conf "$top/bird-conf/duet" "$top"/bird-conf/examples/site*.conf "$example"/*.conf "$dir/etc-$name"
	bird -p -c "$dir/etc-$name/bird.conf" 2>&1 | sed 's/^/# /'
	ok "${PIPESTATUS[0]}" "bird takes the example $name"
	if [ -e "$example/ipv6.conf" ]; then
		echo 'include "ipv6.conf";' >>"$dir/etc-$name/bird.conf"
		bird -p -c "$dir/etc-$name/bird.conf" 2>&1 | sed 's/^/# /'
		ok "${PIPESTATUS[0]}" "bird takes the example $name with IPv6"
	fi
	for file in node.conf neighbours.conf; do
		grep -v '^#' "$example/$file" | diff - <(grep -v '^#' "$dir/$name/$file") | sed 's/^/# /'
		ok "${PIPESTATUS[1]}" "the example $name has the $file that the lab uses"
	done
done

echo "1..$n"
exit $failed
