// SPDX-License-Identifier: GPL-2.0
/*
 * Where programs hang on the interface: tc filters at clsact and XDP in the
 * driver, the attachments that 6.1 and newer kernels share and that outlive their
 * maker. What is attached is the truth; replacing it is one step.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

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
