#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What can be said of the sources without running them. STYLE=full (make style)
# adds what takes minutes: the kernel's coccinelle rules, and sparse for every
# kernel. What was quiet isn't asked again until a file of it is newer.
cd "$(dirname "$0")/../.." || exit 1
out=${O:-out}
n=0
failed=0

# result NAME OUTPUT - ok if the output is empty
result()
{
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "$2" | head -n 20 | sed 's/^/# /'
		echo "not ok $n - $1"
		failed=1
	fi
}

mapfile -t files < <(git ls-files 2>/dev/null | while read -r f; do [ -f "$f" ] && echo "$f"; done)
[ ${#files[@]} -gt 0 ] || { echo "1..0 # SKIP no git here"; exit 4; }

code=() shell=() c=()
for f in "${files[@]}"; do
	case $f in
	*.c|*.h) code+=("$f"); c+=("$f") ;;
	*.py|*.mk|Makefile|Kbuild|*.yaml) code+=("$f") ;;
	*.bash) code+=("$f"); shell+=("$f") ;;
	*)
		case $(head -c 32 "$f" | head -n 1) in
		'#!/bin/bash'*|'#!/bin/sh'*) code+=("$f"); shell+=("$f") ;;
		'#!'*) code+=("$f") ;;
		esac ;;
	esac
done

# What takes long runs beside the rest, each writing to a file of its own.
out=$(realpath "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t kernels < <(scripts/kernel-list)
[ "${STYLE:-}" = full ] || kernels=("${kernels[0]}")
mkdir -p "$out/style"

# start NAME COMMAND ... - in the background, unless it was quiet and nothing has changed since
start()
{
	local name=$1 quiet=$out/style/$1

	shift
	if [ -e "$quiet" ] && [ -z "$(find "${code[@]}" -newer "$quiet" | grep -E '^(kmod|include|scripts|selftests/style)/|\.sh$' | head -n 1)" ]; then
		: >"$work/$name"
		return
	fi
	{
		("$@") >"$work/$name" 2>&1
		rm -f "$quiet"
		[ -s "$work/$name" ] || : >"$quiet"
	} &
}

# in a copy: checkpatch leaves a file where it is called if there is a git
checkpatch()
{
	mkdir "$work/tree"
	tar cf - kmod include | tar xf - -C "$work/tree"
	cd "$work/tree" || return
	local cp=(perl "$out/linux-source/scripts/checkpatch.pl" --no-tree --strict -q --terse --no-summary --max-line-length=100)
	local trace=kmod/trace.h files=(kmod/*.[ch])

	"${cp[@]}" --ignore CONSTANT_COMPARISON,LONG_LINE_STRING -f "${files[@]/$trace/kmod/main.c}"
	# TRACE_EVENT() has a form of its own
	"${cp[@]}" --ignore COMPLEX_MACRO,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT -f "$trace"
	# two worlds compile these: DUET_INLINE is what each calls inline
	"${cp[@]}" --ignore COMPLEX_MACRO,PREFER_DEFINED_ATTRIBUTE_MACRO -f include/duet/*.h
}

# on the module where it was built, so that nothing is compiled again
sparse_module()
{
	[ -e "$out/kmod/$1/duet.ko" ] || echo "no module for $1: run make"
	make -s -C "/lib/modules/$1/build" M="$out/kmod/$1" W=1 C=2 CF=-D__CHECK_ENDIAN__ modules 2>&1 |
		grep -v 'Skipping BTF'
}

# on what user space makes of the same headers
sparse_headers()
{
	for f in include/duet/*.h; do
		echo "#include <duet/$(basename "$f")>"
	done >"$work/headers.c"
	sparse -D_GNU_SOURCE -D__CHECK_ENDIAN__ -Wno-decl -Iinclude -Iinclude/uapi "$work/headers.c"
}

# the kernel's own semantic patches, but those that want an OCaml compiler
coccinelle()
{
	grep -L ocaml "$out"/linux-source/scripts/coccinelle/{api,free,iterators,locks,misc,null}/*.cocci |
		xargs -P "$(nproc)" -I{} timeout 600 spatch --very-quiet --no-show-diff -D report --no-includes \
			-I include --cocci-file {} --dir kmod 2>&1 | sort -u |
		# what spatch thinks of the rules; and duet_nl_dev(), which returns a device locked
		grep -vE '^warning: |^kmod/netlink.c:[0-9:-]* preceding lock'
}

for k in "${kernels[@]}"; do
	start "sparse-$k" sparse_module "$k"
done
start checkpatch checkpatch
start shellcheck shellcheck -S warning "${shell[@]}"
start headers sparse_headers
[ "${STYLE:-}" != full ] || start coccinelle coccinelle

plan=$((8 + ${#kernels[@]}))
[ "${STYLE:-}" != full ] || plan=$((plan + 1))
echo "1..$plan"
result "every source says its licence" "$(grep -L -m1 'SPDX-License-Identifier' "${code[@]}")"
result "no trailing white space" "$(grep -nE '[[:space:]]+$' "${code[@]}")"
result "no sleep in tests and scripts" \
	"$(grep -nE '(^|[^a-z_])(time\.)?sleep[ (][0-9a-z]' selftests/*/*.py selftests/*/*.sh scripts/* 2>/dev/null |
		grep -vE 'test_style|"command": "sleep|# kmemleak looks')"
result "nothing left to be done" "$(grep -nwE 'TODO|FIXME|XXX' "${code[@]}" | grep -v test_style)"
result "clang-format" "$(scripts/style 2>&1)"
wait
result "shellcheck" "$(cat "$work/shellcheck")"
result "checkpatch --strict on the module" "$(cat "$work/checkpatch")"
for k in "${kernels[@]}"; do
	result "sparse on the module for $k" "$(cat "$work/sparse-$k")"
done
result "sparse on include/duet in user space" "$(cat "$work/headers")"
[ "${STYLE:-}" != full ] || result "coccinelle on the module" "$(cat "$work/coccinelle")"
exit $failed
