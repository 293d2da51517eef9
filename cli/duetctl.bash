# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# bash completion for duetctl. Names are asked of the controller, where the
# words so far or the environment say it is; if it can't be reached there are none.

# _duetctl_names LIST KEY - the members KEY of a list that duetctl prints as JSON
_duetctl_names()
{
	timeout 2 "$program" "${where[@]}" -j "$1" list 2>/dev/null |
		sed -n "s/^      \"$2\": \"\\([^\"]*\\)\",*\$/\\1/p"
}

_duetctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]} options words="" where=() args=() i
	local commands="status explain vip dip switch link mux host traffic snat topology assignment plan assign whatif probe trace export diff
		apply move moves migrations abort drain undrain drains stop resume settings events audit token backup key genkey"

	COMPREPLY=()
	options="--controller --tls-cert --tls-key --tls-ca --tls-crl --token-file --json --wait --watch --dry-run --abort --force --verbose --file --timeout --help --version"
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c|--controller|--tls-cert|--tls-key|--tls-ca|--tls-crl|--token-file)
			where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
			((i++)) ;;
		-f|--file|-n|--timeout)
			((i++)) ;;
		-*) ;;
		*) args+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-f|--file|--tls-cert|--tls-key|--tls-ca|--tls-crl|--token-file)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	-c|--controller|-n|--timeout)
		return ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		return
	fi
	case ${#args[@]}:${args[*]} in
	0:*) words=$commands ;;
	1:vip) words="list show delete" ;;
	1:dip) words="list drain undrain down up weight release" ;;
	1:switch|1:link) words=list ;;
	1:mux) words="list show unfence" ;;
	1:host) words="list show drain undrain unfence" ;;
	1:snat) words=show ;;
	1:explain) words=$("$program" -j explain 2>/dev/null | sed -n 's/^ *"code": "\([^"]*\)",*$/\1/p') ;;
	1:key) words="show rotate" ;;
	1:token) words="list add delete" ;;
	1:drain|1:undrain) words="switch rack smux" ;;
	1:abort) words=wave ;;
	1:move|1:probe|2:vip\ show|2:vip\ delete|2:dip\ *) words=$(_duetctl_names vip vip) ;;
	2:trace\ *) words=$(_duetctl_names vip vip) ;;
	2:move\ *) words="smux $(_duetctl_names switch name)" ;;
	2:mux\ show|2:probe\ *|2:mux\ unfence) words=$(_duetctl_names mux name) ;;
	2:host\ *) words=$(_duetctl_names host name) ;;
	2:*drain\ smux) words=$(_duetctl_names mux name | grep -vxFf <(_duetctl_names switch name)) ;;
	2:*drain\ switch) words=$(_duetctl_names switch name) ;;
	2:*drain\ rack) words=$(_duetctl_names switch name) ;;
	3:dip\ *) words=$(_duetctl_names dip dip) ;;
	3:token\ add\ *) words="agent read operate admin" ;;
	*:settings*)
		words=$(timeout 2 "$program" "${where[@]}" settings 2>/dev/null | sed 's/=.*/=/')
		compopt -o nospace 2>/dev/null ;;
	*:whatif*)
		case ${args[-1]}:${args[-2]} in
		switch:*) words=$(_duetctl_names switch name) ;;
		smux:*) words=$(_duetctl_names mux name | grep -vxFf <(_duetctl_names switch name)) ;;
		vip:*) words=$(_duetctl_names vip vip) ;;
		*:vip) words="gone x2" ;;
		*) words="switch smux vip" ;;
		esac ;;
	esac
	[[ $words ]] && mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	return 0
}

complete -F _duetctl duetctl
