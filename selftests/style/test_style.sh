#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What can be said of the sources without running them.
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
	*)
		case $(head -c 32 "$f" | head -n 1) in
		'#!/bin/bash'*|'#!/bin/sh'*) code+=("$f"); shell+=("$f") ;;
		'#!'*) code+=("$f") ;;
		esac ;;
	esac
done

echo "1..7"
result "every source says its licence" "$(grep -L -m1 'SPDX-License-Identifier' "${code[@]}")"
result "no trailing white space" "$(grep -nE '[[:space:]]+$' "${code[@]}")"
result "no sleep in tests and scripts" \
	"$(grep -nE '(^|[^a-z_])(time\.)?sleep[ (][0-9a-z]' selftests/*/*.py selftests/*/*.sh scripts/* 2>/dev/null | grep -v 'test_style')"
result "nothing left to be done" "$(grep -nwE 'TODO|FIXME|XXX' "${code[@]}" | grep -v test_style)"
result "shellcheck" "$(shellcheck -S warning "${shell[@]}" 2>&1)"
result "checkpatch --strict on the module" \
	"$(perl "$out/linux-source/scripts/checkpatch.pl" --no-tree --strict -q --terse --no-summary --max-line-length=100 \
		--ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON,LONG_LINE_STRING -f kmod/*.[ch] 2>&1)"

# sparse, in a copy: it needs the kernel's build
kver=$(scripts/kernel-list | head -n 1)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar cf - Kbuild kmod/*.[ch] include | tar xf - -C "$copy"
result "sparse on the module" \
	"$(make -s -C "/lib/modules/$kver/build" M="$copy" W=1 C=2 CF=-D__CHECK_ENDIAN__ modules 2>&1 | grep -v 'Skipping BTF')"
exit $failed
