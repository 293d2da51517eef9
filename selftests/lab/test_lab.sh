#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# scripts/lab itself, without the module: up, what it refuses, two side by side,
# down, and that an end halfway leaves nothing behind.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$top/scripts/lab
out=${O:-$top/out}
export LAB_DEVICE=dummy
a=la$$- b=lb$$- n=0 failed=0
log=$(mktemp)

if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP not root"
	exit 0
fi
# shellcheck disable=SC2317 # called by the trap
cleanup()
{
	"$lab" --prefix "$a" down
	"$lab" --prefix "$b" down
	rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok()
{
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		sed 's/^/# /' "$log"
		echo "not ok $n - $2"
		failed=1
	fi
}

says()	# TEXT COMMAND... - fails, and says so
{
	local text=$1

	shift
	! "$@" >"$log" 2>&1 && grep -q -e "$text" "$log"
}

nothing()	# PREFIX - no namespace, no folder, no program
{
	! compgen -G "/run/netns/$1*" >"$log" && ! compgen -G "/run/$1*" >>"$log" && ! pgrep -af "/run/$1" >>"$log"
}

mkdir -p "/run/${a}lab/ctl" && echo old | tee "/run/${a}lab/lab.json" >"/run/${a}lab/ctl/old.sqlite"
"$lab" --prefix "$a" --servers 8 up >"$log" 2>&1
ok $? "up with 8 servers"
[ ! -e "/run/${a}lab/ctl/old.sqlite" ]
ok $? "without the files of one that was killed"
"$lab" --prefix "$b" --servers 4 up >"$log" 2>&1
ok $? "a second one beside it, under another prefix"
says "is up already" "$lab" --prefix "$a" up
ok $? "the same prefix again is refused"
says "no node srv99" "$lab" --prefix "$a" exec srv99 true
ok $? "exec on a node that isn't there is refused"
"$lab" --prefix "$a" ps >"$log" 2>&1 && grep -q "^core1 *bird" "$log" && grep -q "^srv1 *nginx" "$log"
ok $? "ps shows BIRD of a switch and a DIP's web server"
[ "$("$lab" --prefix "$a" exec srv54 curl -s --noproxy '*' --max-time 5 http://10.1.1.1/)" = srv1 ]
ok $? "a client under tor4 gets the page of a server under tor1"
kill "$(sed 's/.*"srv1", "nginx", \[[^]]*\], \([0-9]*\).*/\1/' "/run/${a}lab/programs.json")"
says "nginx of srv1 has ended" "$lab" --prefix "$a" check
ok $? "check tells of a program that has ended"
"$lab" --prefix "$a" down >"$log" 2>&1 && nothing "$a"
ok $? "down leaves nothing"
"$lab" --prefix "$b" check >"$log" 2>&1
ok $? "and nothing is missing in the other one"
says "netem delay nonsense, at the ports of core1: " "$lab" --prefix "$a" --servers 4 --netem "delay nonsense" up && nothing "$a"
ok $? "links that tc can't make are refused with its sentence, and nothing stays"
"$lab" --prefix "$b" down >"$log" 2>&1 && nothing "$b"
ok $? "down of the other"
"$lab" --prefix "$a" down >"$log" 2>&1 && nothing "$a"
ok $? "down of nothing is fine"

for signal in INT TERM; do
	"$lab" --prefix "$a" up >"$log" 2>&1 &
	pid=$!
	# as soon as programs run it is halfway
	timeout 20 bash -c "until [ -e /run/${a}lab/programs.json ]; do read -rt 0.02 <> <(:) || :; done"
	kill -s "$signal" $pid
	! wait $pid && nothing "$a"
	ok $? "SIG$signal halfway leaves nothing"
done

sed 's/"swp1" -- "agg1":"swp1"/"swp1" -- "agg1":"this-name-is-too-long"/' "$top/selftests/lab/topology.dot" >"$log.dot"
! "$lab" --prefix "$a" --topology "$log.dot" --servers 4 up >"$log" 2>&1 && nothing "$a"
ok $? "a failure halfway leaves nothing"
sed 's/-- "agg1":"swp1"/-- "agg9":"swp1"/' "$top/selftests/lab/topology.dot" >"$log.dot"
says "there is no node agg9" "$lab" --prefix "$a" --topology "$log.dot" up && nothing "$a"
ok $? "a link to nowhere is refused, with its name"
says "steps are a to f" "$top/scripts/demo" --steps xyz
ok $? "a demo of unknown steps is refused"
rm -f "$log.dot"
[ -d "$out/log/lab/log" ]
ok $? "but the logs, in $(basename "$out")/log/lab"

echo "1..$n"
exit $failed
