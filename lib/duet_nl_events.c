// SPDX-License-Identifier: GPL-2.0
/*
 * What others changed: the group "events", read on a socket of its own, so
 * that events never mix with answers.
 */
#include "duet_nl_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int duet_nl_events_fd(struct duet_nl *nl, struct err *e)
{
	int group = nl->group, ret;
	struct mnl_socket *s;

	if (nl->events)
		return mnl_socket_get_fd(nl->events);
	if (!nl->event_buf)
		nl->event_buf = malloc(DUET_NL_BUF);
	if (!nl->event_buf)
		return err_set(e, -ENOMEM, "no memory");
	s = nl_socket(NETLINK_GENERIC);
	if (!s)
		return err_set(e, -errno, "can't open a netlink socket: %s", strerror(errno));
	if (mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		ret = err_set(e, -errno, "can't join the group of duet's events: %s",
			      errno == EPERM ? "that needs CAP_NET_ADMIN" : strerror(errno));
		mnl_socket_close(s);
		return ret;
	}
	nl->events = s;
	return mnl_socket_get_fd(s);
}

int duet_nl_events_read(struct duet_nl *nl, void (*event)(const struct duet_event *ev, void *ctx), void *ctx)
{
	if (!nl->events)
		return -ENOTCONN;
	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(nl->events), nl->event_buf, DUET_NL_BUF, MSG_DONTWAIT);
		struct nlmsghdr *nlh = (void *)nl->event_buf;
		int len = n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			struct duet_event ev = {};

			if (nlh->nlmsg_type != nl->family || nl_parse_event(nlh, &ev))
				continue;
			ev.own = nlh->nlmsg_pid == mnl_socket_get_portid(nl->s);
			event(&ev, ctx);
			vip_free(ev.vip);
		}
	}
}
