// SPDX-License-Identifier: GPL-2.0
/*
 * Trigger routes and links, by libnl-route-3. Nothing is cached:
 * each question is asked of the kernel, so that what others do is seen.
 */
#include "route.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct rt {
	struct nl_sock *s;
	struct nl_sock *watch;	/* NULL until asked for */
};

/* nl_errno - libnl's error as an errno; only what is told apart here */
static int nl_errno(int error)
{
	switch (error < 0 ? -error : error) {
	case 0:
		return 0;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_OBJ_NOTFOUND:
		return -ENOENT;
	case NLE_NODEV:
		return -ENODEV;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	}
	return -EIO;
}

int rt_open(struct rt **out, struct err *e)
{
	struct rt *rt = calloc(1, sizeof(*rt));
	int ret;

	if (!rt)
		return err_set(e, -ENOMEM, "no memory");
	rt->s = nl_socket_alloc();
	if (!rt->s) {
		free(rt);
		return err_set(e, -ENOMEM, "no memory");
	}
	ret = nl_connect(rt->s, NETLINK_ROUTE);
	if (ret) {
		err_set(e, nl_errno(ret), "can't open an rtnetlink socket: %s", nl_geterror(ret));
		rt_close(rt);
		return nl_errno(ret);
	}
	nl_socket_set_buffer_size(rt->s, 1 << 20, 1 << 16);
	*out = rt;
	return 0;
}

void rt_close(struct rt *rt)
{
	if (!rt)
		return;
	nl_socket_free(rt->watch);
	nl_socket_free(rt->s);
	free(rt);
}

/* link_add - by hand: libnl knows no link type "duet" */
static int link_add(struct rt *rt, const char *name, const char *kind)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info;
	int ret = -NLE_NOMEM;

	if (!msg)
		return ret;
	if (nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO) || nla_put_string(msg, IFLA_IFNAME, name))
		goto out;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, kind))
		goto out;
	nla_nest_end(msg, info);
	return nl_send_sync(rt->s, msg);	/* frees msg */
out:
	nlmsg_free(msg);
	return ret;
}

static int link_up(struct rt *rt, struct rtnl_link *link)
{
	struct rtnl_link *change;
	int ret;

	if (rtnl_link_get_flags(link) & IFF_UP)
		return 0;
	change = rtnl_link_alloc();
	if (!change)
		return -NLE_NOMEM;
	rtnl_link_set_flags(change, IFF_UP);
	ret = rtnl_link_change(rt->s, link, change, 0);
	rtnl_link_put(change);
	return ret;
}

int rt_link_ensure(struct rt *rt, const char *name, const char *kind, bool *created, struct err *e)
{
	struct rtnl_link *link;
	const char *has;
	int ret;

	*created = false;
	ret = rtnl_link_get_kernel(rt->s, 0, name, &link);
	if (nl_errno(ret) == -ENODEV || nl_errno(ret) == -ENOENT) {
		ret = link_add(rt, name, kind);
		if (nl_errno(ret) == -EOPNOTSUPP)
			return err_set(e, -EOPNOTSUPP, "can't make link %s of type %s: the kernel knows no such type (is the module loaded?)",
				       name, kind);
		if (ret)
			return err_set(e, nl_errno(ret), "can't make link %s of type %s: %s", name, kind, nl_geterror(ret));
		*created = true;
		ret = rtnl_link_get_kernel(rt->s, 0, name, &link);
	}
	if (ret)
		return err_set(e, nl_errno(ret), "link %s: %s", name, nl_geterror(ret));
	has = rtnl_link_get_type(link);
	if (!has || strcmp(has, kind)) {
		ret = err_set(e, -EEXIST, "there is a link %s already, of type %s and not %s", name, has ?: "physical", kind);
		goto out;
	}
	ret = link_up(rt, link);
	if (ret)
		ret = err_set(e, nl_errno(ret), "can't set link %s up: %s", name, nl_geterror(ret));
out:
	rtnl_link_put(link);
	return ret;
}

static struct nl_addr *nl_prefix(const struct prefix *p)
{
	size_t len;
	const void *raw = addr_raw(&p->addr, &len);
	struct nl_addr *a = nl_addr_build(len == 4 ? AF_INET : AF_INET6, raw, len);

	if (a)
		nl_addr_set_prefixlen(a, p->len);
	return a;
}

/* trigger_route - the route as an object; NULL: no memory. *index: of dev, 0 if there is no such link */
static struct rtnl_route *trigger_route(const struct prefix *p, const char *dev, unsigned int table,
					unsigned int proto, unsigned int *index)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct nl_addr *dst = nl_prefix(p);
	struct rtnl_nexthop *nh = rtnl_route_nh_alloc();

	*index = if_nametoindex(dev);
	if (!route || !dst || !nh)
		goto err_free;
	rtnl_route_set_family(route, nl_addr_get_family(dst));
	if (rtnl_route_set_dst(route, dst))
		goto err_free;
	rtnl_route_set_table(route, table);
	rtnl_route_set_protocol(route, proto);
	rtnl_route_set_scope(route, RT_SCOPE_LINK);
	rtnl_route_set_type(route, RTN_UNICAST);
	rtnl_route_nh_set_ifindex(nh, *index);
	rtnl_route_add_nexthop(route, nh);
	nl_addr_put(dst);
	return route;

err_free:
	if (nh)
		rtnl_route_nh_free(nh);
	nl_addr_put(dst);
	rtnl_route_put(route);
	return NULL;
}

int rt_trigger_set(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table,
		   unsigned int proto, struct err *e)
{
	char text[ADDR_STRLEN];
	unsigned int index;
	struct rtnl_route *route = trigger_route(p, dev, table, proto, &index);
	int ret;

	if (!route)
		return err_set(e, -ENOMEM, "no memory");
	if (!index) {
		rtnl_route_put(route);
		return err_set(e, -ENODEV, "no device %s, so no route %s/%u into it", dev, addr_str(&p->addr, text), p->len);
	}
	ret = rtnl_route_add(rt->s, route, NLM_F_CREATE | NLM_F_REPLACE);
	rtnl_route_put(route);
	if (ret)
		return err_set(e, nl_errno(ret), "can't set route %s/%u dev %s table %u: %s",
			       addr_str(&p->addr, text), p->len, dev, table, nl_geterror(ret));
	return 0;
}

int rt_trigger_del(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table, struct err *e)
{
	char text[ADDR_STRLEN];
	unsigned int index;
	struct rtnl_route *route = trigger_route(p, dev, table, RTPROT_UNSPEC, &index);
	int ret;

	if (!route)
		return err_set(e, -ENOMEM, "no memory");
	ret = rtnl_route_delete(rt->s, route, 0);
	rtnl_route_put(route);
	/* ESRCH, which libnl calls "object not found": gone is gone */
	if (!ret || nl_errno(ret) == -ENOENT || nl_errno(ret) == -ENODEV || !index)
		return 0;
	return err_set(e, nl_errno(ret), "can't delete route %s/%u dev %s table %u: %s",
		       addr_str(&p->addr, text), p->len, dev, table, nl_geterror(ret));
}

struct dump {
	unsigned int table, index, n, room;
	struct rt_trigger *list;
	int error;
};

static void on_route(struct nl_object *obj, void *ctx)
{
	struct rtnl_route *route = (struct rtnl_route *)obj;
	struct nl_addr *dst = rtnl_route_get_dst(route);
	struct rtnl_nexthop *nh = rtnl_route_nexthop_n(route, 0);
	struct dump *d = ctx;
	struct rt_trigger *t;

	if (rtnl_route_get_table(route) != d->table || !dst || !nh ||
	    (unsigned int)rtnl_route_nh_get_ifindex(nh) != d->index || d->error)
		return;
	if (d->n == d->room) {
		unsigned int room = d->room ? 2 * d->room : 64;

		t = realloc(d->list, room * sizeof(*t));
		if (!t) {
			d->error = -ENOMEM;
			return;
		}
		d->list = t;
		d->room = room;
	}
	t = &d->list[d->n];
	if (addr_from_raw(nl_addr_get_binary_addr(dst), nl_addr_get_len(dst), &t->prefix.addr))
		return;
	t->prefix.len = nl_addr_get_prefixlen(dst);
	t->proto = rtnl_route_get_protocol(route);
	d->n++;
}

static int on_msg(struct nl_msg *msg, void *ctx)
{
	nl_msg_parse(msg, on_route, ctx);
	return NL_OK;
}

static int trigger_cmp(const void *a, const void *b)
{
	const struct rt_trigger *x = a, *y = b;
	int cmp = addr_cmp(&x->prefix.addr, &y->prefix.addr);

	return cmp ? cmp : (int)x->prefix.len - (int)y->prefix.len;
}

int rt_trigger_dump(struct rt *rt, const char *dev, unsigned int table, struct rt_trigger **out,
		    unsigned int *n, struct err *e)
{
	struct dump d = { .table = table, .index = if_nametoindex(dev) };
	struct rtmsg rtm = { .rtm_family = AF_UNSPEC };
	int ret;

	*out = NULL;
	*n = 0;
	if (!d.index)
		return 0;
	nl_socket_modify_cb(rt->s, NL_CB_VALID, NL_CB_CUSTOM, on_msg, &d);
	ret = nl_send_simple(rt->s, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	if (ret >= 0)
		ret = nl_recvmsgs_default(rt->s);
	nl_socket_modify_cb(rt->s, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	if (ret < 0 || d.error) {
		free(d.list);
		return err_set(e, d.error ?: nl_errno(ret), "can't read the routes of table %u: %s", table,
			       d.error ? strerror(-d.error) : nl_geterror(ret));
	}
	if (d.n)
		qsort(d.list, d.n, sizeof(*d.list), trigger_cmp);
	*out = d.list;
	*n = d.n;
	return 0;
}

int rt_reachable(struct rt *rt, const struct addr *a, bool *yes, struct err *e)
{
	struct prefix p = host_prefix(a);
	struct nl_addr *dst = nl_prefix(&p);
	struct rtnl_route *route = NULL;
	int ret;

	if (!dst)
		return err_set(e, -ENOMEM, "no memory");
	ret = rtnl_route_lookup(rt->s, dst, &route);
	nl_addr_put(dst);
	if (ret == -NLE_NOMEM)
		return err_set(e, -ENOMEM, "no memory");
	*yes = !ret && route && rtnl_route_get_type(route) != RTN_UNREACHABLE &&
	       rtnl_route_get_type(route) != RTN_BLACKHOLE && rtnl_route_get_type(route) != RTN_PROHIBIT;
	rtnl_route_put(route);
	return 0;
}

int rt_route_link(struct rt *rt, const struct addr *a, char *dev, struct err *e)
{
	struct prefix p = host_prefix(a);
	struct nl_addr *dst = nl_prefix(&p);
	struct rtnl_route *route = NULL;
	struct rtnl_nexthop *nh;

	dev[0] = '\0';
	if (!dst)
		return err_set(e, -ENOMEM, "no memory");
	if (!rtnl_route_lookup(rt->s, dst, &route) && route) {
		nh = rtnl_route_nexthop_n(route, 0);
		if (!nh || !if_indextoname(rtnl_route_nh_get_ifindex(nh), dev))
			dev[0] = '\0';
	}
	rtnl_route_put(route);
	nl_addr_put(dst);
	return 0;
}

int rt_link_get(struct rt *rt, const char *name, struct rt_link *out, struct err *e)
{
	struct rtnl_link *link;
	int ret = rtnl_link_get_kernel(rt->s, 0, name, &link);

	if (ret)
		return err_set(e, nl_errno(ret) == -ENOENT ? -ENODEV : nl_errno(ret), "link %s: %s", name, nl_geterror(ret));
	out->up = rtnl_link_get_flags(link) & IFF_UP;
	out->carrier = out->up && rtnl_link_get_carrier(link);
	out->mtu = rtnl_link_get_mtu(link);
	out->index = rtnl_link_get_ifindex(link);
	rtnl_link_put(link);
	return 0;
}

/* addr_read - false: it isn't one of those that rt_addr_dump() gives */
static bool addr_read(struct rtnl_addr *from, struct rt_addr *to)
{
	struct nl_addr *local = rtnl_addr_get_local(from);
	bool lo = rtnl_addr_get_ifindex(from) == 1;

	if (!local || (lo && (rtnl_addr_get_scope(from) == RT_SCOPE_HOST && rtnl_addr_get_family(from) == AF_INET)) ||
	    (lo && rtnl_addr_get_flags(from) & IFA_F_DEPRECATED) ||
	    addr_from_raw(nl_addr_get_binary_addr(local), nl_addr_get_len(local), &to->addr))
		return false;
	to->len = rtnl_addr_get_prefixlen(from);
	if (!if_indextoname(rtnl_addr_get_ifindex(from), to->link))
		snprintf(to->link, sizeof(to->link), "%d", rtnl_addr_get_ifindex(from));
	return true;
}

int rt_addr_dump(struct rt *rt, struct rt_addr **out, unsigned int *n, struct err *e)
{
	struct nl_cache *cache;
	struct nl_object *o;
	int ret = rtnl_addr_alloc_cache(rt->s, &cache);

	if (ret)
		return err_set(e, nl_errno(ret), "can't list this machine's addresses: %s", nl_geterror(ret));
	*n = 0;
	*out = calloc(nl_cache_nitems(cache) + 1, sizeof(**out));
	for (o = *out ? nl_cache_get_first(cache) : NULL; o; o = nl_cache_get_next(o))
		*n += addr_read((struct rtnl_addr *)o, &(*out)[*n]);
	nl_cache_free(cache);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory");
}

int rt_watch_fd(struct rt *rt, struct err *e)
{
	int ret;

	if (rt->watch)
		return nl_socket_get_fd(rt->watch);
	rt->watch = nl_socket_alloc();
	if (!rt->watch)
		return err_set(e, -ENOMEM, "no memory");
	ret = nl_connect(rt->watch, NETLINK_ROUTE);
	if (!ret)
		ret = nl_socket_add_memberships(rt->watch, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK,
						RTNLGRP_NEXTHOP, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, 0);
	if (!ret)
		ret = nl_socket_set_nonblocking(rt->watch);
	if (!ret)
		nl_socket_set_buffer_size(rt->watch, 1 << 20, 0);
	if (ret) {
		nl_socket_free(rt->watch);
		rt->watch = NULL;
		return err_set(e, nl_errno(ret), "can't watch the kernel's routes: %s", nl_geterror(ret));
	}
	return nl_socket_get_fd(rt->watch);
}

/* of_route - the prefix and table of a message about a route; false: it is about something else */
static bool of_route(struct nlmsghdr *nh, struct prefix *p, unsigned int *table)
{
	static const uint8_t zero[16];
	struct nlattr *attr[RTA_MAX + 1];
	const struct rtmsg *rtm;
	size_t len;

	if ((nh->nlmsg_type != RTM_NEWROUTE && nh->nlmsg_type != RTM_DELROUTE) ||
	    nlmsg_parse(nh, sizeof(*rtm), attr, RTA_MAX, NULL))
		return false;
	rtm = nlmsg_data(nh);
	len = rtm->rtm_family == AF_INET ? 4 : 16;
	*table = attr[RTA_TABLE] ? nla_get_u32(attr[RTA_TABLE]) : rtm->rtm_table;
	p->len = rtm->rtm_dst_len;
	if (attr[RTA_DST] && (size_t)nla_len(attr[RTA_DST]) < len)
		return false;
	return !addr_from_raw(attr[RTA_DST] ? nla_data(attr[RTA_DST]) : zero, len, &p->addr);
}

void rt_watch_read(struct rt *rt, void (*changed)(const struct prefix *p, unsigned int table, void *ctx), void *ctx)
{
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	unsigned int table;
	struct prefix p;
	ssize_t n;

	for (;;) {
		n = recv(nl_socket_get_fd(rt->watch), buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			changed(NULL, 0, ctx);
			continue;
		}
		if (n <= 0)
			return;
		for (struct nlmsghdr *nh = (void *)buf; NLMSG_OK(nh, (size_t)n); nh = NLMSG_NEXT(nh, n)) {
			bool route = of_route(nh, &p, &table);

			changed(route ? &p : NULL, route ? table : 0, ctx);
		}
	}
}
