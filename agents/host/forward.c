// SPDX-License-Identifier: GPL-2.0
/*
 * SNAT of what targets behind the host open: the program in bpf/forward.bpf.c at
 * the interfaces they are behind. Loaded when there are such targets, by then
 * their NAT (nft.c) has brought nf_nat; a kernel that refuses it is asked once.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netlink/route/route.h>
#include <stdlib.h>

#include "forward.skel.h"
#include "snat.h"

struct forward {
	struct forward_bpf *skel;	/* NULL until there is a need */
	unsigned int *ifindexes, n_ifindexes;
	int refused;
};

int forward_start(struct forward **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void forward_stop(struct forward *f)
{
	if (!f)
		return;
	forward_bpf__destroy(f->skel);
	free(f->ifindexes);
	free(f);
}

bool forward_hooked(const struct forward *f)
{
	return f->n_ifindexes;
}

unsigned int forward_behind(const struct addr *target)
{
	struct rtnl_route *route = NULL;
	struct nl_sock *sk = nl_socket_alloc();
	unsigned int ifindex = 0;
	struct nl_addr *dst;
	const void *raw;
	size_t len;

	raw = addr_raw(target, &len);
	dst = nl_addr_build(len == 4 ? AF_INET : AF_INET6, raw, len);
	if (sk && dst && !nl_connect(sk, NETLINK_ROUTE) && !rtnl_route_lookup(sk, dst, &route) &&
	    rtnl_route_get_type(route) == RTN_UNICAST && rtnl_route_get_nnexthops(route))
		ifindex = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
	rtnl_route_put(route);
	nl_addr_put(dst);
	nl_socket_free(sk);
	return ifindex;
}

static int load(struct forward *f, struct bpf_object *sockets, struct err *e)
{
	struct bpf_map *map, *shared;
	int ret = 0;

	if (f->skel)
		return 0;
	if (f->refused)
		goto refused;
	f->skel = forward_bpf__open();
	if (!f->skel)
		return err_set(e, -errno, "the SNAT program can't be read: %s", strerror(errno));
	bpf_object__for_each_map(map, f->skel->obj) {
		shared = bpf_object__find_map_by_name(sockets, bpf_map__name(map));
		if (shared && !ret)
			ret = bpf_map__reuse_fd(map, bpf_map__fd(shared));
	}
	ret = ret ?: forward_bpf__load(f->skel);
	if (!ret)
		return 0;
	forward_bpf__destroy(f->skel);
	f->skel = NULL;
	f->refused = ret;
refused:
	return err_set(e, f->refused, "this kernel can't translate what targets open (%s): nf_conntrack and nf_nat must have BPF and BTF",
		       strerror(-f->refused));
}

int forward_hook(struct forward *f, struct bpf_object *sockets, const unsigned int *ifindexes, unsigned int n, struct err *e)
{
	unsigned int i, k, *list = calloc(n + 1, sizeof(*list));
	int ret = 0;

	if (!list)
		return err_set(e, -ENOMEM, "no memory");
	if (n)
		ret = load(f, sockets, e);
	for (i = 0; i < n && !ret; i++) {
		ret = hook_attach(ifindexes[i], HOOK_SNAT, bpf_program__fd(f->skel->progs.duet_snat), e);
		list[i] = ifindexes[i];
	}
	if (ret) {
		free(list);
		return ret;
	}
	for (k = 0; k < f->n_ifindexes; k++) {
		for (i = 0; i < n && ifindexes[i] != f->ifindexes[k]; i++)
			;
		if (i == n)
			hook_detach(f->ifindexes[k], HOOK_SNAT);
	}
	free(f->ifindexes);
	f->ifindexes = list;
	f->n_ifindexes = n;
	return 0;
}
