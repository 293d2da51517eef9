// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a mux: rtnetlink with the module's own attributes, which ip(8)
 * doesn't know.
 */
#include "duet_nl_priv.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

static struct nlmsghdr *link_request(char *buf, const char *dev, enum duet_mode mode)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlattr *info, *data;
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	nlh->nlmsg_seq = 1;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, dev);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "duet");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nlh, IFLA_DUET_MODE, mode);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return nlh;
}

int duet_nl_dev_add(const char *dev, enum duet_mode mode, struct err *e)
{
	char buf[MNL_SOCKET_BUFFER_SIZE], why[DUET_NL_WHY];
	struct mnl_socket *s;
	struct nlmsghdr *nlh;
	int ret = -EIO;
	ssize_t n;

	if (!*dev || strlen(dev) >= IF_NAMESIZE)
		return err_set(e, -EINVAL, "\"%.32s\" can't be the name of a device", dev);
	s = nl_socket(NETLINK_ROUTE);
	if (!s)
		return err_set(e, -errno, "no netlink socket: %s", strerror(errno));
	nlh = link_request(buf, dev, mode);
	n = mnl_socket_sendto(s, nlh, nlh->nlmsg_len);
	if (n >= 0)
		n = mnl_socket_recvfrom(s, buf, sizeof(buf));
	if (n < 0)
		ret = err_set(e, -errno, "netlink: %s", strerror(errno));
	else if (mnl_nlmsg_ok((void *)buf, n) && ((struct nlmsghdr *)buf)->nlmsg_type == NLMSG_ERROR)
		ret = nl_error((void *)buf, why, sizeof(why));
	mnl_socket_close(s);
	if (!ret || n < 0)
		return ret;
	if (ret == -EOPNOTSUPP)
		return err_set(e, ret, "can't make %s: the kernel has no links of kind duet (is the module loaded?)", dev);
	return err_set(e, ret, "can't make %s: %s", dev, why);
}
