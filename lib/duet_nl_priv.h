/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the netlink client share; nobody else includes it. */
#ifndef DUET_LIB_DUET_NL_PRIV_H
#define DUET_LIB_DUET_NL_PRIV_H

#include <libmnl/libmnl.h>
#include <stdio.h>
#include "duet_nl.h"

#define DUET_NL_BUF		(256 * 1024)	/* a VIP may take 64 KiB, a batch more */
#define DUET_NL_SOCKBUF		(4 << 20)
#define DUET_NL_WHY		256
#define DUET_NL_DUMP_TRIES	16
#define NL_LAST			1		/* of a callback: this was the whole answer */

struct duet_nl {
	struct mnl_socket *s, *events;	/* events: NULL until asked for */
	uint16_t family;
	uint32_t group, seq;
	char *buf, *out;		/* received; request being built */
	char *event_buf;		/* of its own: who hears an event may ask */
};

/* duet_nl.c */
/* nl_socket - bound, with extack sentences in errors; NULL and errno */
struct mnl_socket *nl_socket(int protocol);
struct nlmsghdr *nl_begin(struct duet_nl *nl, char *buf, uint8_t cmd, unsigned int flags);
int nl_put_dev(struct nlmsghdr *nlh, const char *dev, struct err *e);
int nl_call(struct duet_nl *nl, const struct nlmsghdr *nlh, mnl_cb_t cb, void *ctx, struct err *e);
/* nl_error - error of an NLMSG_ERROR (0: ack); the kernel's sentence in why */
int nl_error(const struct nlmsghdr *nlh, char *why, size_t size);

/* duet_nl_flow.c */
void nl_put_flows(struct nlmsghdr *nlh, const struct duet_flows *f);
void nl_get_flows(const struct nlattr *nest, struct duet_flows *f);

/* duet_nl_attr.c */
int nl_get_addr(const struct nlattr *attr, struct addr *a);
void nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct addr *a);
int nl_put_vip(struct nlmsghdr *nlh, const struct vip *vip, struct err *e);
void nl_put_vip_addr(struct nlmsghdr *nlh, const struct addr *vip);
void nl_put_dip_state(struct nlmsghdr *nlh, const struct addr *vip, const struct addr *dip,
		      enum duet_dip_state state);
int nl_parse_dev(const struct nlmsghdr *nlh, struct duet_dev *dev);
int nl_parse_vip_msg(const struct nlmsghdr *nlh, struct vip **vip, uint64_t *generation);
int nl_parse_trace(const struct nlmsghdr *nlh, struct duet_trace *trace);
int nl_parse_event(const struct nlmsghdr *nlh, struct duet_event *ev);

#endif
