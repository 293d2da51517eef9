// SPDX-License-Identifier: GPL-2.0
/*
 * duet.ko: VIP -> hash -> bucket -> DIP -> IP-in-IP.
 */
#include "compat.h"
#include "device.h"
#include "netlink.h"

#include <linux/module.h>
#include <net/genetlink.h>
#include <net/rtnetlink.h>

#ifndef NL_SET_ERR_MSG_FMT
char *duet_extack_buf(void)
{
	static char ring[32][DUET_EXTACK_LEN];
	static atomic_t next;

	return ring[(unsigned int)atomic_inc_return(&next) % ARRAY_SIZE(ring)];
}
#endif

static int __init duet_init(void)
{
	int ret;

	ret = duet_device_init();
	if (ret)
		return ret;
	ret = duet_nl_init();
	if (ret)
		goto err_device;
	return 0;

err_device:
	duet_device_exit();
	return ret;
}

static void __exit duet_exit(void)
{
	duet_nl_exit();
	duet_device_exit();
}

module_init(duet_init);
module_exit(duet_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Duet load balancer: VIP to IP-in-IP");
MODULE_ALIAS_RTNL_LINK("duet");
MODULE_ALIAS_GENL_FAMILY(DUET_GENL_NAME);
