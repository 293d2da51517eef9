// SPDX-License-Identifier: GPL-2.0
/*
 * Connections that targets behind this host opened with a VIP as source, as
 * conntrack has them: there is one entry as long as its port is taken for its
 * destination, TIME_WAIT included. The kernel is asked for the entries of one VIP; one
 * that can't choose (before 5.8) sends all, and they are looked through here.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <time.h>

#include "snat.h"

#define DUMP_SIZE 32768	/* of one answer with many entries */
#define BY_DST	  (1 << 1) /* CTA_FILTER_REPLY_FLAGS: match the destination's address */

struct walk {
	const struct addr *vip;
	void (*each)(const struct flow *f, void *ctx);
	void *ctx;
};

struct tuple {
	struct addr src, dst;
	uint16_t sport, dport;
	uint8_t proto;
};

/* Attributes of one level, by type. */
struct attrs {
	const struct nlattr *a[8];
};

static int on_attr(const struct nlattr *a, void *ctx)
{
	struct attrs *t = ctx;

	if (mnl_attr_get_type(a) < 8)
		t->a[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static struct attrs nested(const struct nlattr *a)
{
	struct attrs t = {};

	if (a)
		mnl_attr_parse_nested(a, on_attr, &t);
	return t;
}

static struct addr addr_of(const struct attrs *ip, int v4, int v6)
{
	const struct nlattr *a = ip->a[v4] ?: ip->a[v6];
	struct addr out = {};

	if (a)
		addr_from_raw(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), &out);
	return out;
}

static struct tuple tuple_of(const struct nlattr *a)
{
	struct attrs tuple = nested(a), ip = nested(tuple.a[CTA_TUPLE_IP]), proto = nested(tuple.a[CTA_TUPLE_PROTO]);
	struct tuple t = { .src = addr_of(&ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC), .dst = addr_of(&ip, CTA_IP_V4_DST, CTA_IP_V6_DST) };

	if (proto.a[CTA_PROTO_NUM])
		t.proto = mnl_attr_get_u8(proto.a[CTA_PROTO_NUM]);
	if (proto.a[CTA_PROTO_SRC_PORT])
		t.sport = ntohs(mnl_attr_get_u16(proto.a[CTA_PROTO_SRC_PORT]));
	if (proto.a[CTA_PROTO_DST_PORT])
		t.dport = ntohs(mnl_attr_get_u16(proto.a[CTA_PROTO_DST_PORT]));
	return t;
}

static int on_entry(const struct nlmsghdr *nlh, void *ctx)
{
	const struct walk *w = ctx;
	struct tuple open, back;
	struct attrs t = {};

	mnl_attr_parse(nlh, sizeof(struct nfgenmsg), on_attr, &t);
	open = tuple_of(t.a[CTA_TUPLE_ORIG]);
	back = tuple_of(t.a[CTA_TUPLE_REPLY]);
	/* one opened with the VIP itself as source is a socket's of this host: flows.c counts it */
	if (!addr_cmp(&back.dst, w->vip) && addr_cmp(&open.src, w->vip))
		w->each(&(struct flow){ .local = back.dst, .remote = back.src, .port = back.dport, .remote_port = back.sport,
					.proto = back.proto }, w->ctx);
	return MNL_CB_OK;
}

static int ask(struct mnl_socket *s, const struct walk *w, bool choose)
{
	char buf[DUMP_SIZE];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	unsigned int seq = time(NULL);
	bool v4 = addr_is_v4(w->vip);
	struct nlattr *a, *ip;
	struct nfgenmsg *nf;
	const void *raw;
	size_t len;
	ssize_t n;
	int ret;

	nlh->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq + choose;
	nf = mnl_nlmsg_put_extra_header(nlh, sizeof(*nf));
	*nf = (struct nfgenmsg){ .nfgen_family = v4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0 };
	if (choose) {
		raw = addr_raw(w->vip, &len);
		a = mnl_attr_nest_start(nlh, CTA_TUPLE_REPLY);
		ip = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);
		mnl_attr_put(nlh, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, len, raw);
		mnl_attr_nest_end(nlh, ip);
		mnl_attr_nest_end(nlh, a);
		a = mnl_attr_nest_start(nlh, CTA_FILTER);
		mnl_attr_put_u32(nlh, CTA_FILTER_REPLY_FLAGS, BY_DST);
		mnl_attr_nest_end(nlh, a);
	}
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(s, buf, sizeof(buf));
		ret = n < 0 ? -1 : mnl_cb_run(buf, n, seq + choose, 0, on_entry, (void *)w);
	} while (ret > 0);
	return ret < 0 ? -errno : 0;
}

int forwards_each(const struct addr *vip, void (*each)(const struct flow *f, void *ctx), void *ctx)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int ret = s && !mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) ? 0 : -errno;
	struct walk w = { vip, each, ctx };

	if (!ret)
		ret = ask(s, &w, true);
	if (ret == -EINVAL || ret == -EOPNOTSUPP)
		ret = ask(s, &w, false);
	if (s)
		mnl_socket_close(s);
	return ret;
}
