// SPDX-License-Identifier: GPL-2.0
/*
 * The agent's process, which faces the network, gives up what it doesn't need: root,
 * every capability, the way back to them, and the system calls that it never makes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon.h"
#include "host.h"
#include "log.h"

/* Where no package has made user duet, as in a testbed: a number of the range that service managers take such users from.
 * Not nobody, whom others run as too: processes of one user can end each other.
 */
#define NO_USER "65472"

int confine_user(struct conf *conf, struct err *e)
{
	uid_t uid, commands;
	gid_t gid, group;
	struct err why;

	if (!conf->user)
		conf->user = strdup(daemon_user("duet", &uid, &gid, &why) ? NO_USER : "duet");
	if (!conf->user)
		return err_set(e, -ENOMEM, "no memory");
	if (daemon_user(conf->user, &uid, &gid, &why))
		return err_set(e, -EINVAL, "[agent] user = %.64s: %.300s", conf->user, why.text);
	if (!uid || !gid)
		return err_set(e, -EINVAL, "[agent] user = %.64s: what faces the network never runs as root, nor in root's group", conf->user);
	/* processes of one user can end each other */
	if (conf->check_dir && !daemon_user(conf->check_user, &commands, &group, &why) && commands == uid)
		return err_set(e, -EINVAL, "[checks] user = %s: commands of checks need another user than the agent ([agent] user = %s)",
			       conf->check_user, conf->user);
	return 0;
}

/* What this process never does, and somebody who took it over would like to. Those with a level and an option are of
 * setsockopt(): a raw socket for echo requests writes no IP header of its own.
 */
static int filter(void)
{
	static const int never[] = {
		SCMP_SYS(bpf), SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
		SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
		SCMP_SYS(mount_setattr), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(clone3),
		SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
		SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl), SCMP_SYS(add_key),
		SCMP_SYS(request_key), SCMP_SYS(setuid), SCMP_SYS(setreuid), SCMP_SYS(setresuid), SCMP_SYS(setgid), SCMP_SYS(setregid),
		SCMP_SYS(setresgid), SCMP_SYS(setgroups), SCMP_SYS(capset), SCMP_SYS(personality), SCMP_SYS(quotactl), SCMP_SYS(swapon),
		SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(fchownat),
		SCMP_SYS(lchown), SCMP_SYS(name_to_handle_at), SCMP_SYS(open_by_handle_at), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),
		SCMP_SYS(acct), SCMP_SYS(syslog), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex),
	};
	static const int headers[][2] = { { IPPROTO_IP, IP_HDRINCL }, { IPPROTO_IPV6, IPV6_HDRINCL }, { IPPROTO_RAW, IPV6_HDRINCL } };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	unsigned int i;
	int ret = ctx ? 0 : -ENOMEM;

	for (i = 0; i < sizeof(never) / sizeof(*never) && !ret; i++) {
		/* glibc makes threads by clone3() and, told that there is none, by clone() */
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(never[i] == SCMP_SYS(clone3) ? ENOSYS : EPERM), never[i], 0);
		if (ret == -EDOM || ret == -EFAULT)
			ret = 0;	/* this machine has no such call */
	}
	for (i = 0; i < 3 && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setsockopt), 2, SCMP_A1(SCMP_CMP_EQ, headers[i][0]),
				       SCMP_A2(SCMP_CMP_EQ, headers[i][1]));
	if (!ret)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	return ret;
}

/* warn_unreadable - certificates were read as root; when they are read again, it is as the user */
static void warn_unreadable(const char *key, const char *path, const struct conf *conf)
{
	if (path && access(path, R_OK))
		log_warn("[agent] %s = %s can't be read by user %s (%s): a new one counts after a restart only, unless the user may read it (chgrp, chmod 0640)",
			 key, path, conf->user, strerror(errno));
}

int confine(const struct conf *conf, struct err *e)
{
	uid_t uid;
	gid_t gid;
	int ret = daemon_user(conf->user, &uid, &gid, e);

	if (!ret)
		ret = daemon_drop_all(uid, gid, e);
	if (ret)
		return ret;
	warn_unreadable("tls-cert", conf->http.tls.cert, conf);
	warn_unreadable("tls-key", conf->http.tls.key, conf);
	warn_unreadable("tls-ca", conf->http.tls.ca, conf);
	warn_unreadable("tls-crl", conf->http.tls.crl, conf);
	ret = filter();
	if (ret)
		log_warn("no filter of system calls: %s", strerror(-ret));
	return 0;
}
