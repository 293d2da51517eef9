// SPDX-License-Identifier: GPL-2.0
/*
 * Many changes in few system calls: requests are packed into one buffer, each
 * asks for its ack, and the acks are matched by sequence number.
 */
#include "duet_nl_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel handles a packet of requests while it is being sent, and its acks
 * wait in the receive buffer meanwhile: so many fit the smallest there is.
 */
#define BATCH_OPS	128
/* What is sent at once must fit the smallest send buffer, 208 KiB */
#define BATCH_BYTES	(128 * 1024)
/* The largest request: DUET_VIP_DIPS_MAX DIPs in DUET_VIP_RULES_MAX rules */
#define BATCH_OP_MAX	(48 * 1024)

static int put_op(struct duet_nl *nl, char *at, const char *dev, const struct duet_op *op,
		  struct nlmsghdr **out, struct err *e)
{
	static const uint8_t cmds[] = {
		[DUET_OP_VIP_SET] = DUET_CMD_VIP_SET,
		[DUET_OP_VIP_DEL] = DUET_CMD_VIP_DEL,
		[DUET_OP_DIP_SET] = DUET_CMD_DIP_SET,
	};
	struct nlmsghdr *nlh = nl_begin(nl, at, cmds[op->op], NLM_F_ACK);
	int ret = nl_put_dev(nlh, dev, e);

	if (ret)
		return ret;
	switch (op->op) {
	case DUET_OP_VIP_SET:
		ret = nl_put_vip(nlh, op->vip, e);
		break;
	case DUET_OP_VIP_DEL:
		nl_put_vip_addr(nlh, &op->addr);
		break;
	case DUET_OP_DIP_SET:
		nl_put_dip_state(nlh, addr_is_none(&op->addr) ? NULL : &op->addr, &op->dip, op->state);
		break;
	}
	*out = nlh;
	return ret;
}

/* collect - the acks of ops[n], whose sequence numbers begin at first. They are
 * all there already: one that isn't was lost.
 */
static int collect(struct duet_nl *nl, uint32_t first, struct duet_op *ops, unsigned int n, struct err *e)
{
	unsigned int missing = n;

	while (missing) {
		ssize_t got = recv(mnl_socket_get_fd(nl->s), nl->buf, DUET_NL_BUF, MSG_DONTWAIT);
		struct nlmsghdr *nlh = (void *)nl->buf;
		int len = got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return err_set(e, -ENOBUFS, "netlink: %u answers of %u were lost", missing, n);
		if (got < 0)
			return err_set(e, -errno, "netlink: %s", strerror(errno));
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			uint32_t i = nlh->nlmsg_seq - first;

			if (nlh->nlmsg_type != NLMSG_ERROR || i >= n)
				continue;
			ops[i].result = nl_error(nlh, ops[i].why, sizeof(ops[i].why));
			missing--;
		}
	}
	return 0;
}

/* batch_build - as many of ops[n] as go into one packet; their number or -errno */
static int batch_build(struct duet_nl *nl, const char *dev, const struct duet_op *ops, unsigned int n,
		       size_t *bytes, struct err *e)
{
	unsigned int count;
	size_t used = 0;

	for (count = 0; count < n && count < BATCH_OPS && used + BATCH_OP_MAX <= BATCH_BYTES; count++) {
		struct nlmsghdr *nlh;
		int ret = put_op(nl, nl->out + used, dev, &ops[count], &nlh, e);

		if (ret)
			return ret;
		used += MNL_ALIGN(nlh->nlmsg_len);
	}
	*bytes = used;
	return count;
}

int duet_nl_batch(struct duet_nl *nl, const char *dev, struct duet_op *ops, unsigned int n, struct err *e)
{
	unsigned int done = 0;
	int ret;

	while (done < n) {
		uint32_t first = nl->seq + 1;
		size_t bytes = 0;
		int count;

		count = batch_build(nl, dev, ops + done, n - done, &bytes, e);
		if (count < 0)
			return count;
		if (mnl_socket_sendto(nl->s, nl->out, bytes) < 0)
			return err_set(e, -errno, "netlink: %s", strerror(errno));
		ret = collect(nl, first, ops + done, count, e);
		if (ret)
			return ret;
		done += count;
	}
	return 0;
}
