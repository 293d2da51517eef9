// SPDX-License-Identifier: GPL-2.0
/*
 * Sockets of this host, by the kernel's own list of them: those whose ports count as
 * in use, and those that are to end. Connections whose return packets go to another DIP since the set of
 * provisioned DIPs changed: nothing the far end says can reach them, so they are
 * ended here, at once, with ECONNABORTED. DIPs that are down for a while move
 * nothing for good: their recovery restores the table, and nothing is ended.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include <duet/packet.h>
#include "log.h"
#include "snat.h"

#ifndef SOCK_DESTROY
#define SOCK_DESTROY 21
#endif

/* ESTABLISHED to LAST_ACK, those that can still hear something */
#define STATES ((1 << TCP_ESTABLISHED) | (1 << TCP_SYN_SENT) | (1 << TCP_FIN_WAIT1) | (1 << TCP_FIN_WAIT2) | \
		(1 << TCP_CLOSE_WAIT) | (1 << TCP_LAST_ACK) | (1 << TCP_CLOSING))

static const uint8_t families[] = { AF_INET, AF_INET6 };

struct walk {
	const struct flow_table *tables;
	unsigned int n_tables;
	struct inet_diag_req_v2 *lost;
	unsigned int n_lost, room;
};

static struct addr addr_of(uint8_t family, const __be32 *words)
{
	struct addr a;

	addr_from_raw(words, family == AF_INET ? 4 : 16, &a);
	return a;
}

static void words(uint32_t *to, const struct addr *a)
{
	const uint8_t *raw;
	size_t len, i;

	raw = addr_raw(a, &len);
	for (i = 0; i < len / 4; i++)
		to[i] = duet_get32(raw + 4 * i);
}

/* is_lost - an SNAT connection whose bucket is another's in all tables of its VIP that its port is in */
static bool is_lost(const struct walk *w, const struct inet_diag_msg *m)
{
	struct addr src = addr_of(m->idiag_family, m->id.idiag_src), dst = addr_of(m->idiag_family, m->id.idiag_dst);
	struct duet_tuple t = { .sport = ntohs(m->id.idiag_dport), .dport = ntohs(m->id.idiag_sport), .proto = IPPROTO_TCP };
	unsigned int i;

	t.family = addr_is_v4(&src) ? 4 : 6;
	words(t.src, &dst);
	words(t.dst, &src);
	for (i = 0; i < w->n_tables; i++) {
		const struct flow_table *f = &w->tables[i];

		if (t.dport < f->first || t.dport > f->last || addr_cmp(&src, &f->vip))
			continue;
		return !f->ours[1 + duet_bucket(duet_tuple_hash(&t, f->fields, &f->key), f->ours[0])];
	}
	return false;
}

static int on_socket(const struct nlmsghdr *nlh, void *ctx)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct walk *w = ctx;

	if (!is_lost(w, m))
		return MNL_CB_OK;
	if (w->n_lost == w->room) {
		void *more = realloc(w->lost, (w->room * 2 + 64) * sizeof(*w->lost));

		if (!more)
			return MNL_CB_ERROR;
		w->lost = more;
		w->room = w->room * 2 + 64;
	}
	w->lost[w->n_lost++] = (struct inet_diag_req_v2){ .sdiag_family = m->idiag_family, .sdiag_protocol = IPPROTO_TCP, .id = m->id };
	return MNL_CB_OK;
}

/* ask - one request and all its answers; 0 or -errno */
static int ask(struct mnl_socket *s, uint16_t type, uint16_t flags, const struct inet_diag_req_v2 *req,
	       const struct inet_diag_bc_op filter[4], mnl_cb_t cb, void *ctx)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	ssize_t n;
	int ret;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	memcpy(mnl_nlmsg_put_extra_header(nlh, sizeof(*req)), req, sizeof(*req));
	if (filter)
		mnl_attr_put(nlh, INET_DIAG_REQ_BYTECODE, 4 * sizeof(*filter), filter);
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(s, buf, sizeof(buf));
		ret = n < 0 ? -1 : mnl_cb_run(buf, n, 0, 0, cb, ctx);
	} while (ret > 0);
	return ret < 0 ? -errno : 0;
}

void flows_end(const struct flow_table *tables, unsigned int n)
{
	struct walk w = { .tables = tables, .n_tables = n };
	struct mnl_socket *s = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	unsigned int i, ended = 0;
	int ret = 0;

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID)) {
		log_warn("connections that can't be answered any more aren't ended: %s", strerror(errno));
		goto out;
	}
	for (i = 0; i < 2 && !ret; i++) {
		struct inet_diag_req_v2 all = { .sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP, .idiag_states = STATES };

		ret = ask(s, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &all, NULL, on_socket, &w);
	}
	for (i = 0; i < w.n_lost; i++)
		ended += !ask(s, SOCK_DESTROY, NLM_F_ACK, &w.lost[i], NULL, NULL, NULL);
	if (ret)
		log_warn("connections that can't be answered any more aren't all known: %s", strerror(-ret));
	if (w.n_lost)
		log_notice("%u of %u connections ended: their VIP's DIPs have changed", ended, w.n_lost);
out:
	if (s)
		mnl_socket_close(s);
	free(w.lost);
}

struct each_flow {
	void (*each)(const struct flow *f, void *ctx);
	void *ctx;
	uint8_t proto;
};

static int on_flow(const struct nlmsghdr *nlh, void *ctx)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	const struct each_flow *e = ctx;

	e->each(&(struct flow){ .local = addr_of(m->idiag_family, m->id.idiag_src), .remote = addr_of(m->idiag_family, m->id.idiag_dst),
				.port = ntohs(m->id.idiag_sport), .remote_port = ntohs(m->id.idiag_dport), .proto = e->proto }, e->ctx);
	return MNL_CB_OK;
}

int flows_each(unsigned int first, unsigned int last, void (*each)(const struct flow *f, void *ctx), void *ctx)
{
	/* not below first, not above last; whoever doesn't match jumps behind the end: the kernel sends us only these */
	const struct inet_diag_bc_op filter[] = {
		{ INET_DIAG_BC_S_GE, 8, 20 }, { .no = first }, { INET_DIAG_BC_S_LE, 8, 12 }, { .no = last },
	};
	static const struct {
		uint8_t proto;
		uint32_t states;
	} kinds[] = {
		{ IPPROTO_TCP, STATES | (1 << TCP_TIME_WAIT) },
		{ IPPROTO_UDP, 1 << TCP_ESTABLISHED },
	};
	struct mnl_socket *s = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int ret = s && !mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) ? 0 : -errno;
	unsigned int i;

	for (i = 0; i < 4 && !ret; i++) {
		struct inet_diag_req_v2 all = { .sdiag_family = families[i % 2], .sdiag_protocol = kinds[i / 2].proto,
						.idiag_states = kinds[i / 2].states };

		ret = ask(s, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &all, filter, on_flow,
			  &(struct each_flow){ each, ctx, kinds[i / 2].proto });
		if (ret == -ENOENT && all.sdiag_protocol == IPPROTO_UDP)
			ret = 0;	/* a kernel without udp_diag: what is TCP counts */
	}
	if (s)
		mnl_socket_close(s);
	return ret;
}
