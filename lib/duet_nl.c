// SPDX-License-Identifier: GPL-2.0
/*
 * The "duet" family: socket, requests and answers. Attributes are read in
 * duet_nl_attr.c; many changes at once are in duet_nl_batch.c, events in
 * duet_nl_events.c.
 */
#include "duet_nl_priv.h"
#include "log.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

static int nl_option(struct mnl_socket *s, int option)
{
	int one = 1;

	return mnl_socket_setsockopt(s, option, &one, sizeof(one));
}

/* The kernel keeps what isn't read yet, and takes a request, only up to the
 * socket's buffers. FORCE goes over the system's limit and may be refused.
 */
static void nl_socket_size(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

struct mnl_socket *nl_socket(int protocol)
{
	struct mnl_socket *s = mnl_socket_open2(protocol, SOCK_CLOEXEC);

	if (!s)
		return NULL;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(s);
		return NULL;
	}
	nl_option(s, NETLINK_EXT_ACK);
	nl_option(s, NETLINK_CAP_ACK);
	nl_option(s, NETLINK_GET_STRICT_CHK);
	nl_socket_size(mnl_socket_get_fd(s), DUET_NL_SOCKBUF);
	return s;
}

/* nl_sentence - why error: the kernel's words among the attributes at offset
 * at, else errno's
 */
static void nl_sentence(const struct nlmsghdr *nlh, size_t at, int error, char *why, size_t size)
{
	const struct nlattr *attr;

	why[0] = '\0';
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS)
		mnl_attr_for_each(attr, nlh, at)
			if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
				snprintf(why, size, "%s", mnl_attr_get_str(attr));
	if (!error || why[0])
		return;
	if (error == -EPERM)
		snprintf(why, size, "not permitted: showing and changing a mux need CAP_NET_ADMIN");
	else if (error == -ENOENT)	/* all that the module itself says comes with a sentence */
		snprintf(why, size, "the kernel module duet isn't loaded, or was loaded again");
	else
		snprintf(why, size, "%s", strerror(-error));
}

int nl_error(const struct nlmsghdr *nlh, char *why, size_t size)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	size_t at = sizeof(*err);

	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		at += err->msg.nlmsg_len - sizeof(err->msg);
	nl_sentence(nlh, at, err->error, why, size);
	return err->error;
}

/* The end of a dump tells its error, too */
static int nl_done(const struct nlmsghdr *nlh, char *why, size_t size)
{
	int error = *(const int *)mnl_nlmsg_get_payload(nlh);

	why[0] = '\0';
	if (error >= 0)
		return 0;
	nl_sentence(nlh, sizeof(error), error, why, size);
	return error;
}

/* nl_answer - run cb over the answers to seq until the last. What cb refuses
 * is read to its end nevertheless: the kernel runs one dump of a socket.
 */
static int nl_answer(struct duet_nl *nl, uint32_t seq, mnl_cb_t cb, void *ctx, struct err *e)
{
	bool interrupted = false;
	char why[DUET_NL_WHY];
	int bad = 0;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->s, nl->buf, DUET_NL_BUF);
		struct nlmsghdr *nlh = (void *)nl->buf;
		int len = n, ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "netlink: %s", strerror(errno));
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_seq != seq)
				continue;
			if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
				interrupted = true;
			if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE) {
				ret = nlh->nlmsg_type == NLMSG_DONE ? nl_done(nlh, why, sizeof(why)) :
								      nl_error(nlh, why, sizeof(why));
				if (ret)
					return err_set(e, ret, "%s", why);
				if (why[0])	/* done, with a warning */
					log_warn("%s", why);
				if (bad)
					return err_set(e, bad, "can't read the kernel's answer: %s", strerror(-bad));
				return interrupted ? err_set(e, -EINTR, "changes went on while it was read") : 0;
			}
			if (nlh->nlmsg_type < NLMSG_MIN_TYPE || !cb)
				continue;
			ret = bad ? bad : cb(nlh, ctx);
			if (ret < 0)
				bad = ret;
			if (nlh->nlmsg_flags & NLM_F_MULTI)
				continue;
			if (bad)
				return err_set(e, bad, "can't read the kernel's answer: %s", strerror(-bad));
			if (ret == NL_LAST)
				return 0;
		}
	}
}

struct nlmsghdr *nl_begin(struct duet_nl *nl, char *buf, uint8_t cmd, unsigned int flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = nl->family;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++nl->seq;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = DUET_GENL_VERSION;
	return nlh;
}

int nl_call(struct duet_nl *nl, const struct nlmsghdr *nlh, mnl_cb_t cb, void *ctx, struct err *e)
{
	if (mnl_socket_sendto(nl->s, nlh, nlh->nlmsg_len) < 0)
		return err_set(e, -errno, "netlink: %s", strerror(errno));
	return nl_answer(nl, nlh->nlmsg_seq, cb, ctx, e);
}

int nl_put_dev(struct nlmsghdr *nlh, const char *dev, struct err *e)
{
	if (!dev[0] || strlen(dev) >= IFNAMSIZ)
		return err_set(e, -EINVAL, "\"%.32s\" can't be the name of a device", dev);
	mnl_attr_put_strz(nlh, DUET_A_IFNAME, dev);
	return 0;
}

struct family {
	uint16_t id;
	uint32_t events;
};

static int family_groups(const struct nlattr *groups, struct family *f)
{
	const struct nlattr *group, *attr;

	mnl_attr_for_each_nested(group, groups) {
		const char *name = "";
		uint32_t id = 0;

		mnl_attr_for_each_nested(attr, group) {
			if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_NAME)
				name = mnl_attr_get_str(attr);
			else if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_ID)
				id = mnl_attr_get_u32(attr);
		}
		if (!strcmp(name, DUET_GENL_MCGRP_EVENTS))
			f->events = id;
	}
	return MNL_CB_OK;
}

static int family_cb(const struct nlmsghdr *nlh, void *ctx)
{
	const struct nlattr *attr;
	struct family *f = ctx;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			f->id = mnl_attr_get_u16(attr);
		else if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GROUPS)
			family_groups(attr, f);
	}
	return MNL_CB_OK;
}

/* nl_family - id and group; asking also makes the kernel load the module */
static int nl_family(struct duet_nl *nl, struct err *e)
{
	struct family f = {};
	struct nlmsghdr *nlh;
	int ret;

	nl->family = GENL_ID_CTRL;
	nlh = nl_begin(nl, nl->out, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, DUET_GENL_NAME);
	ret = nl_call(nl, nlh, family_cb, &f, e);
	if (ret == -ENOENT)
		return err_set(e, ret, "the kernel module duet is not loaded and can't be found: insmod duet.ko, or modprobe duet, as root");
	if (ret)
		return ret;
	nl->family = f.id;
	nl->group = f.events;
	return 0;
}

int duet_nl_open(struct duet_nl **out, struct err *e)
{
	struct duet_nl *nl = calloc(1, sizeof(*nl));
	int ret = -ENOMEM;

	if (!nl)
		return err_set(e, ret, "no memory");
	nl->buf = malloc(DUET_NL_BUF);
	nl->out = malloc(DUET_NL_BUF);
	if (!nl->buf || !nl->out) {
		err_set(e, ret, "no memory");
		goto err_free;
	}
	nl->s = nl_socket(NETLINK_GENERIC);
	if (!nl->s) {
		ret = err_set(e, -errno, "can't open a netlink socket: %s", strerror(errno));
		goto err_free;
	}
	ret = nl_family(nl, e);
	if (ret)
		goto err_close;
	*out = nl;
	return 0;

err_close:
	mnl_socket_close(nl->s);
err_free:
	free(nl->out);
	free(nl->buf);
	free(nl);
	return ret;
}

int duet_nl_again(struct duet_nl *nl, struct err *e)
{
	uint32_t was = nl->group;
	int ret = nl_family(nl, e), group;

	if (ret || !nl->events || nl->group == was)
		return ret;
	group = was;
	mnl_socket_setsockopt(nl->events, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group));
	group = nl->group;
	if (mnl_socket_setsockopt(nl->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return err_set(e, -errno, "can't join the group of duet's events: %s", strerror(errno));
	return 0;
}

void duet_nl_close(struct duet_nl *nl)
{
	if (!nl)
		return;
	if (nl->events)
		mnl_socket_close(nl->events);
	mnl_socket_close(nl->s);
	free(nl->event_buf);
	free(nl->out);
	free(nl->buf);
	free(nl);
}

struct dev_list {
	struct duet_dev *devs;
	unsigned int n;
};

static int dev_cb(const struct nlmsghdr *nlh, void *ctx)
{
	struct dev_list *list = ctx;
	struct duet_dev *more = realloc(list->devs, (list->n + 1) * sizeof(*more));
	int ret;

	if (!more)
		return -ENOMEM;
	list->devs = more;
	ret = nl_parse_dev(nlh, &list->devs[list->n]);
	if (ret)
		return ret;
	list->n++;
	return NL_LAST;
}

static void dev_list_free(struct dev_list *list)
{
	while (list->n)
		duet_dev_release(&list->devs[--list->n]);
	free(list->devs);
}

int duet_nl_dev_get(struct duet_nl *nl, const char *dev, struct duet_dev *out, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_DEV_GET, 0);
	struct dev_list list = {};
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	ret = nl_call(nl, nlh, dev_cb, &list, e);
	if (!ret && list.n != 1)
		ret = err_set(e, -EPROTO, "%s: the kernel answered without an answer", dev);
	if (!ret) {
		*out = list.devs[0];
		list.n = 0;
	}
	dev_list_free(&list);
	return ret;
}

int duet_nl_dev_dump(struct duet_nl *nl, struct duet_dev **devs, unsigned int *n, struct err *e)
{
	struct dev_list list = {};
	int ret = nl_call(nl, nl_begin(nl, nl->out, DUET_CMD_DEV_GET, NLM_F_DUMP), dev_cb, &list, e);

	if (ret) {
		dev_list_free(&list);
		return ret;
	}
	*devs = list.devs;
	*n = list.n;
	return 0;
}

static void put_limit(struct nlmsghdr *nlh, uint16_t type, uint32_t limit)
{
	if (limit != DUET_LIMIT_KEEP)
		mnl_attr_put_u32(nlh, type, limit);
}

static void put_tables(struct nlmsghdr *nlh, const struct duet_tables *t)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, DUET_A_LIMITS);

	put_limit(nlh, DUET_A_TABLE_VIPS, t->vips);
	put_limit(nlh, DUET_A_TABLE_RULES, t->rules);
	put_limit(nlh, DUET_A_TABLE_MEMBERS, t->members);
	put_limit(nlh, DUET_A_TABLE_TUNNELS, t->tunnels);
	put_limit(nlh, DUET_A_TABLE_BACKENDS, t->backends);
	mnl_attr_nest_end(nlh, nest);
}

int duet_tos_parse(const char *text, uint8_t *tos)
{
	unsigned long value;
	char *end;

	*tos = DUET_TOS_INHERIT;
	if (!strcmp(text, "inherit"))
		return 0;
	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || *end || *text < '0' || *text > '9' || value > UINT8_MAX || value & 3)
		return -EINVAL;
	*tos = value;
	return 0;
}

const char *duet_tos_text(uint8_t tos, char text[8])
{
	if (tos == DUET_TOS_INHERIT)
		return "inherit";
	snprintf(text, 8, "0x%02x", tos);
	return text;
}

int duet_nl_dev_set(struct duet_nl *nl, const char *dev, unsigned int what, const struct duet_dev *values, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_DEV_SET, NLM_F_ACK);
	static const uint8_t zero[16];
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	if (what & DUET_SET_MODE)
		mnl_attr_put_u32(nlh, DUET_A_MODE, values->mode);
	if (what & DUET_SET_KEY)
		mnl_attr_put(nlh, DUET_A_KEY, sizeof(values->keys[0]), &values->keys[0]);
	if (what & DUET_SET_KEY1)
		mnl_attr_put(nlh, DUET_A_KEY1, sizeof(values->keys[1]), &values->keys[1]);
	if (what & DUET_SET_LOCAL4)
		mnl_attr_put(nlh, DUET_A_LOCAL4, 4, addr_is_none(&values->local4) ? zero : values->local4.b + 12);
	if (what & DUET_SET_LOCAL6)
		mnl_attr_put(nlh, DUET_A_LOCAL6, 16, values->local6.b);
	if (what & DUET_SET_LIMITS)
		put_tables(nlh, &values->limits);
	if (what & DUET_SET_FLOWS)
		nl_put_flows(nlh, &values->flows);
	if (what & DUET_SET_KEEPALIVE)
		mnl_attr_put_u32(nlh, DUET_A_KEEPALIVE, values->keepalive_ms);
	if (what & DUET_SET_LINK)
		mnl_attr_put_u32(nlh, DUET_A_LINK, values->link);
	if (what & DUET_SET_MARK)
		mnl_attr_put_u32(nlh, DUET_A_MARK, values->mark);
	if (what & DUET_SET_TOS)
		mnl_attr_put_u8(nlh, DUET_A_TOS, values->tos);
	if (what & DUET_SET_SPREAD)
		mnl_attr_put_u8(nlh, DUET_A_SPREAD4, values->spread4);
	return nl_call(nl, nlh, NULL, NULL, e);
}

int duet_nl_port(struct duet_nl *nl, const char *dev, const char *port, bool add, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, add ? DUET_CMD_PORT_ADD : DUET_CMD_PORT_DEL, NLM_F_ACK);
	unsigned int index = if_nametoindex(port);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	if (!index)
		return err_set(e, -ENODEV, "no network device %.32s here, so it can't be a port", port);
	mnl_attr_put_u32(nlh, DUET_A_PORT_IFINDEX, index);
	return nl_call(nl, nlh, NULL, NULL, e);
}

int duet_nl_vip_set(struct duet_nl *nl, const char *dev, const struct vip *vip, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_VIP_SET, NLM_F_ACK);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	ret = nl_put_vip(nlh, vip, e);
	if (ret)
		return ret;
	return nl_call(nl, nlh, NULL, NULL, e);
}

int duet_nl_vip_del(struct duet_nl *nl, const char *dev, const struct addr *vip, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_VIP_DEL, NLM_F_ACK);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	nl_put_vip_addr(nlh, vip);
	return nl_call(nl, nlh, NULL, NULL, e);
}

int duet_nl_vip_flush(struct duet_nl *nl, const char *dev, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_VIP_DEL, NLM_F_ACK);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	mnl_attr_put(nlh, DUET_A_FLUSH, 0, NULL);
	return nl_call(nl, nlh, NULL, NULL, e);
}

struct vip_list {
	struct vip **vips;
	unsigned int n, room;
	uint64_t generation;
};

static void vip_list_free(struct vip_list *list)
{
	while (list->n)
		vip_free(list->vips[--list->n]);
	free(list->vips);
	memset(list, 0, sizeof(*list));
}

static int vip_cb(const struct nlmsghdr *nlh, void *ctx)
{
	struct vip_list *list = ctx;
	int ret;

	if (list->n == list->room) {
		unsigned int room = list->room ? 2 * list->room : 64;
		struct vip **more = realloc(list->vips, room * sizeof(struct vip *));

		if (!more)
			return -ENOMEM;
		list->vips = more;
		list->room = room;
	}
	ret = nl_parse_vip_msg(nlh, &list->vips[list->n], &list->generation);
	if (ret)
		return ret;
	list->n++;
	return NL_LAST;
}

int duet_nl_vip_get(struct duet_nl *nl, const char *dev, const struct addr *vip, struct vip **out, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_VIP_GET, 0);
	struct vip_list list = {};
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	nl_put_vip_addr(nlh, vip);
	ret = nl_call(nl, nlh, vip_cb, &list, e);
	if (!ret && list.n != 1)
		ret = err_set(e, -EPROTO, "%s: the kernel answered without an answer", dev);
	if (!ret) {
		*out = list.vips[0];
		list.n = 0;
	}
	vip_list_free(&list);
	return ret;
}

static int vip_list_cmp(const void *a, const void *b)
{
	return addr_cmp(&(*(struct vip *const *)a)->addr, &(*(struct vip *const *)b)->addr);
}

int duet_nl_vip_dump(struct duet_nl *nl, const char *dev, struct vip ***vips, unsigned int *n,
		     uint64_t *generation, struct err *e)
{
	struct vip_list list = {};
	int ret, tries;

	for (tries = 0; tries < DUET_NL_DUMP_TRIES; tries++) {
		struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_VIP_GET, NLM_F_DUMP);

		ret = nl_put_dev(nlh, dev, e);
		if (ret)
			return ret;
		ret = nl_call(nl, nlh, vip_cb, &list, e);
		if (ret != -EINTR)
			break;
		vip_list_free(&list);
	}
	if (ret) {
		vip_list_free(&list);
		return ret;
	}
	if (list.n)
		qsort(list.vips, list.n, sizeof(struct vip *), vip_list_cmp);
	*vips = list.vips;
	*n = list.n;
	if (generation)
		*generation = list.generation;
	return 0;
}

int duet_nl_dip_set(struct duet_nl *nl, const char *dev, const struct addr *vip, const struct addr *dip,
		    enum duet_dip_state state, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_DIP_SET, NLM_F_ACK);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	nl_put_dip_state(nlh, vip, dip, state);
	return nl_call(nl, nlh, NULL, NULL, e);
}

static int trace_cb(const struct nlmsghdr *nlh, void *ctx)
{
	int ret = nl_parse_trace(nlh, ctx);

	return ret ? ret : NL_LAST;
}

int duet_nl_trace(struct duet_nl *nl, const char *dev, const struct duet_flow *flow, struct duet_trace *out, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_TRACE, 0);
	int ret = nl_put_dev(nlh, dev, e);
	struct nlattr *nest;

	if (ret)
		return ret;
	nest = mnl_attr_nest_start(nlh, DUET_A_FLOW);
	nl_put_addr(nlh, DUET_A_FLOW_SRC, &flow->src);
	nl_put_addr(nlh, DUET_A_FLOW_DST, &flow->dst);
	mnl_attr_put_u8(nlh, DUET_A_FLOW_PROTO, flow->proto);
	mnl_attr_put_u16(nlh, DUET_A_FLOW_SPORT, flow->sport);
	mnl_attr_put_u16(nlh, DUET_A_FLOW_DPORT, flow->dport);
	mnl_attr_nest_end(nlh, nest);
	memset(out, 0, sizeof(*out));
	ret = nl_call(nl, nlh, trace_cb, out, e);
	if (ret) {
		vip_free(out->vip);
		out->vip = NULL;
	}
	return ret;
}
