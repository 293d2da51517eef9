#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Written by duet-setup: puts what is in this folder's etc/ into /etc of this
# machine, and starts what it is for. Run again it changes only what differs.
set -eu
units='@UNITS@' owner=@OWNER@

cd "$(dirname "$0")"
[ "$(id -u)" -eq 0 ] || { echo "install.sh: it writes to /etc: run it as root" >&2; exit 1; }
for unit in $units; do
	systemctl cat "$unit.service" >/dev/null 2>&1 || { echo "install.sh: there is no unit $unit here: install its package first" >&2; exit 1; }
done
getent passwd "$owner" >/dev/null || { echo "install.sh: there is no user $owner here: install duet-controller first" >&2; exit 1; }
# of all daemons that don't run as root
group=root
getent group duet >/dev/null && group=duet

changed=
for file in $(find etc -type f | LC_ALL=C sort); do
	cmp -s "$file" "/$file" && continue
	# what somebody else wrote is kept once
	if [ -e "/$file" ] && ! [ -e "/$file.before-duet" ] && ! grep -q 'Written by duet-setup' "/$file"; then
		case $file in etc/bird/bird.conf | etc/duet/*.conf) cp -p "/$file" "/$file.before-duet" ;; esac
	fi
	mkdir -p "/$(dirname "$file")"
	case $file in
	# a daemon that gave up being root reads its key again when it is renewed
	*/key.pem) install -m 640 -o root -g "$group" "$file" "/$file.new" ;;
	*/hash.key | */part.secret) install -m 600 -o "$owner" "$file" "/$file.new" ;;
	*) install -m 644 "$file" "/$file.new" ;;
	esac
	mv "/$file.new" "/$file"
	echo "install.sh: /$file"
	changed="$changed $file"
done
case $changed in *etc/sysctl.d/*) sysctl -q -p /etc/sysctl.d/60-duet.conf ;; esac
case $changed in *etc/systemd/*) systemctl daemon-reload ;; esac
for unit in $units; do
	systemctl enable -q "$unit.service"
	case $unit:$changed in
	bird:*etc/systemd/*) systemctl restart bird.service ;;
	bird:*etc/bird/*) systemctl reload-or-restart bird.service ;;
	# restarting an agent or the controller stops no traffic
	duet-*:*etc/duet/*) systemctl restart "$unit.service" ;;
	*) systemctl start "$unit.service" ;;
	esac
done
echo "install.sh: $units: running"
