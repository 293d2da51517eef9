// SPDX-License-Identifier: GPL-2.0
/*
 * Where programs hang: on the interface, tc filters at clsact and XDP in the
 * driver, the attachments that 6.1 and newer kernels share and that outlive their
 * maker; on the sockets of the machine, links on the root cgroup, pinned. What is
 * attached is the truth; replacing it is one step.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <netlink/route/classifier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host.h"
#include "log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define CGROUP "/sys/fs/cgroup"
#define FILTER_HANDLE	1
#define FILTER_PRIORITY	8472

static const char *const names[] = {
	[HOOK_INGRESS] = "duet_decap", [HOOK_EGRESS] = "duet_egress", [HOOK_XDP] = "duet_decap_xdp",
	[HOOK_SNAT] = "duet_snat",
};

const char *hook_program(enum hook_kind kind)
{
	return names[kind];
}

static struct bpf_tc_hook tc_hook(unsigned int ifindex, enum hook_kind kind)
{
	return (struct bpf_tc_hook){ .sz = sizeof(struct bpf_tc_hook), .ifindex = ifindex,
				     .attach_point = kind == HOOK_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS };
}

int hook_prog_info(int prog, struct hook_prog *p)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	memcpy(p->tag, info.tag, sizeof(p->tag));
	p->id = info.id;
	snprintf(p->name, sizeof(p->name), "%s", info.name);
	return 0;
}

int hook_get(unsigned int ifindex, enum hook_kind kind)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	struct bpf_tc_hook hook = tc_hook(ifindex, kind);
	struct hook_prog info;
	uint32_t id = 0;
	int fd;

	if (kind == HOOK_XDP) {
		if (bpf_xdp_query_id(ifindex, XDP_FLAGS_DRV_MODE, &id) || !id)
			return -ENOENT;
	} else {
		if (bpf_tc_query(&hook, &opts))
			return -ENOENT;
		id = opts.prog_id;
	}
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	/* the kernel keeps the first 15 characters of a name */
	if (!hook_prog_info(fd, &info) && !strncmp(info.name, names[kind], BPF_OBJ_NAME_LEN - 1))
		return fd;
	close(fd);
	return -EEXIST;
}

int hook_attach(unsigned int ifindex, enum hook_kind kind, int prog, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = prog, .flags = BPF_TC_F_REPLACE);
	LIBBPF_OPTS(bpf_xdp_attach_opts, xdp);
	struct bpf_tc_hook hook = tc_hook(ifindex, kind);
	char name[IF_NAMESIZE] = "?";
	int ret, old;

	if_indextoname(ifindex, name);
	if (kind == HOOK_XDP) {
		old = hook_get(ifindex, kind);
		if (old == -EEXIST)
			return err_set(e, -EEXIST, "%s: another XDP program is attached: not replaced", name);
		xdp.old_prog_fd = old;
		ret = bpf_xdp_attach(ifindex, prog, XDP_FLAGS_DRV_MODE | (old >= 0 ? XDP_FLAGS_REPLACE : XDP_FLAGS_UPDATE_IF_NOEXIST),
				     old >= 0 ? &xdp : NULL);
		if (old >= 0)
			close(old);
		if (ret)
			return err_set(e, ret, "%s: the driver takes no XDP program: %s", name, strerror(-ret));
		return 0;
	}
	ret = bpf_tc_hook_create(&hook);
	if (!ret)
		log_debug("%s: clsact made", name);
	if (ret && ret != -EEXIST)
		return err_set(e, ret, "%s: no clsact queueing discipline: %s", name, strerror(-ret));
	ret = bpf_tc_attach(&hook, &opts);
	if (ret)
		return err_set(e, ret, "%s: the BPF program can't be attached: %s", name, strerror(-ret));
	return 0;
}

bool hook_detach(unsigned int ifindex, enum hook_kind kind)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	struct bpf_tc_hook hook = tc_hook(ifindex, kind);
	int fd = hook_get(ifindex, kind);

	if (fd < 0)
		return false;
	close(fd);
	if (kind == HOOK_XDP)
		return !bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL);
	return !bpf_tc_detach(&hook, &opts);
}

/* filters - how many tc filters hang at this end of clsact; ours are those of our priority */
static unsigned int filters(unsigned int ifindex, uint32_t end, bool ours_too)
{
	struct nl_sock *sk = nl_socket_alloc();
	struct nl_cache *cache = NULL;
	struct nl_object *o;
	unsigned int n = 0;

	if (sk && !nl_connect(sk, NETLINK_ROUTE) &&
	    !rtnl_cls_alloc_cache(sk, ifindex, TC_H_MAKE(TC_H_CLSACT, end), &cache))
		for (o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
			/* a filter with a handle; the head of a priority has none */
			if (rtnl_tc_get_handle(TC_CAST(o)) &&
			    (ours_too || rtnl_cls_get_prio((struct rtnl_cls *)o) != FILTER_PRIORITY))
				n++;
	nl_cache_free(cache);
	nl_socket_free(sk);
	return n;
}

unsigned int hook_foreign(unsigned int ifindex)
{
	return filters(ifindex, TC_H_MIN_INGRESS, false);
}

void hook_leave(unsigned int ifindex)
{
	struct bpf_tc_hook both = { .sz = sizeof(both), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS };

	if (!filters(ifindex, TC_H_MIN_INGRESS, true) && !filters(ifindex, TC_H_MIN_EGRESS, true))
		bpf_tc_hook_destroy(&both);
}

int hook_netns(uint64_t *cookie, struct err *e)
{
	socklen_t len = sizeof(*cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len))
		ret = err_set(e, -errno, "the network namespace has no name: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

int hook_root_cgroup(void)
{
	int fd = open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fs;
	struct statfs st;

	if (fd >= 0 && !fstatfs(fd, &st) && st.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	fs = fsopen("cgroup2", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	fd = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) ? -1 : fsmount(fs, FSMOUNT_CLOEXEC, 0);
	fd = fd < 0 ? -errno : fd;
	close(fs);
	return fd;
}

int hook_sockets(const char *pin, const char *name, enum bpf_attach_type type, int prog, int *link, struct err *e)
{
	char path[512];
	int cgroup;

	if (*link >= 0)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", pin, name);
	*link = bpf_obj_get(path);
	if (*link >= 0) {
		if (!bpf_link_update(*link, prog, NULL))
			return 0;
		close(*link);
		unlink(path);
	}
	cgroup = hook_root_cgroup();
	if (cgroup < 0)
		return err_set(e, cgroup, "no cgroup2 of all sockets: %s", strerror(-cgroup));
	*link = bpf_link_create(prog, cgroup, type, NULL);
	close(cgroup);
	if (*link < 0)
		return err_set(e, -errno, "the program of sockets can't be attached to the root cgroup: %s", strerror(errno));
	/* unpinned, it ends with this process: sockets that are bound stay so */
	if (bpf_obj_pin(*link, path))
		log_debug("%s: not pinned: %s", path, strerror(errno));
	return 0;
}

void hook_sockets_close(int *link)
{
	if (*link >= 0)
		close(*link);
	*link = -1;
}

void hook_sockets_leave(const char *pin, const char *name, int *link)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", pin, name);
	unlink(path);
	hook_sockets_close(link);
}
