// SPDX-License-Identifier: GPL-2.0
/*
 * The VIPs on lo, where they let the service answer with the VIP as source.
 * Of host scope and without a label: never chosen as the source of this host's
 * own connections, and told to nobody.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <string.h>

#include "host.h"

int lo_open(struct nl_sock **out, struct err *e)
{
	struct nl_sock *s = nl_socket_alloc();
	int ret;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for a netlink socket");
	ret = nl_connect(s, NETLINK_ROUTE);
	if (ret) {
		nl_socket_free(s);
		return err_set(e, -EIO, "no rtnetlink socket: %s", nl_geterror(ret));
	}
	*out = s;
	return 0;
}

void lo_close(struct nl_sock *s)
{
	nl_socket_free(s);
}

/* lo_addr - the VIP on lo, as an object; NULL: no memory */
static struct rtnl_addr *lo_addr(const struct addr *vip)
{
	struct rtnl_addr *addr = rtnl_addr_alloc();
	struct nl_addr *local;
	const void *raw;
	size_t len;

	raw = addr_raw(vip, &len);
	local = nl_addr_build(len == 4 ? AF_INET : AF_INET6, raw, len);
	if (!local || !addr || rtnl_addr_set_local(addr, local)) {
		nl_addr_put(local);
		rtnl_addr_put(addr);
		return NULL;
	}
	nl_addr_put(local);
	rtnl_addr_set_ifindex(addr, 1);	/* lo is number 1 in every network namespace */
	rtnl_addr_set_scope(addr, RT_SCOPE_HOST);
	if (len == 16) {
		/* what is deprecated is no source of new connections */
		rtnl_addr_set_flags(addr, IFA_F_NODAD);
		rtnl_addr_set_valid_lifetime(addr, 0xffffffff);
		rtnl_addr_set_preferred_lifetime(addr, 0);
	}
	return addr;
}

int lo_add(struct nl_sock *s, const struct addr *vip, unsigned int *changed, struct err *e)
{
	struct rtnl_addr *addr = lo_addr(vip);
	char text[ADDR_STRLEN];
	int ret;

	if (!addr)
		return err_set(e, -ENOMEM, "no memory");
	ret = rtnl_addr_add(s, addr, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_addr_put(addr);
	if (ret == -NLE_EXIST)
		return 0;
	if (ret)
		return err_set(e, -EIO, "can't put %s on lo: %s", addr_str(vip, text), nl_geterror(ret));
	(*changed)++;
	return 0;
}

int lo_del(struct nl_sock *s, const struct addr *vip, unsigned int *changed, struct err *e)
{
	struct rtnl_addr *addr = lo_addr(vip);
	char text[ADDR_STRLEN];
	int ret;

	if (!addr)
		return err_set(e, -ENOMEM, "no memory");
	ret = rtnl_addr_delete(s, addr, 0);
	rtnl_addr_put(addr);
	if (ret == -NLE_NOADDR || ret == -NLE_OBJ_NOTFOUND)
		return 0;
	if (ret)
		return err_set(e, -EIO, "can't take %s off lo: %s", addr_str(vip, text), nl_geterror(ret));
	(*changed)++;
	return 0;
}
