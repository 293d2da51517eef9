// SPDX-License-Identifier: GPL-2.0
/*
 * duet.ko: VIP -> hash -> bucket -> DIP -> IP-in-IP.
 */
#include "compat.h"
#include "device.h"
#include "icmp.h"
#include "neigh.h"
#include "netlink.h"
#include "percpu.h"
#include "vip.h"

#include <duet/version.h>

#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/rtnetlink.h>

struct workqueue_struct *duet_wq;

#ifndef NL_SET_ERR_MSG_FMT
char *duet_extack_buf(void)
{
	static char ring[32][DUET_EXTACK_LEN];
	static atomic_t next;

	return ring[(unsigned int)atomic_inc_return(&next) % ARRAY_SIZE(ring)];
}
#endif

#if !DUET_EXPORTED_icmp_global_allow
bool duet_icmp_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(limit, HZ, 1000);

	/* without a line in the log for what it refuses */
	ratelimit_set_flags(&limit, RATELIMIT_MSG_ON_RELEASE);
	return __ratelimit(&limit);
}
#endif

/* duet_caches_free - of those that there are */
static void duet_caches_free(void)
{
	kmem_cache_destroy(duet_vip_cache);
	kmem_cache_destroy(duet_backend_cache);
	kmem_cache_destroy(duet_tunnel_cache);
	kmem_cache_destroy(duet_group_cache);
	duet_percpu_exit();
}

static int __init duet_caches_init(void)
{
	duet_percpu_init();
	duet_tunnel_cache = KMEM_CACHE(duet_tunnel, 0);
	duet_backend_cache = KMEM_CACHE(duet_backend, 0);
	duet_vip_cache = KMEM_CACHE(duet_vip, 0);
	duet_group_cache = KMEM_CACHE(duet_group, 0);
	if (duet_tunnel_cache && duet_group_cache && duet_backend_cache && duet_vip_cache)
		return 0;
	duet_caches_free();
	return -ENOMEM;
}

/* In this order, and out in the other: a device can be made only when there is
 * the family that tells of it, and the family answers only for namespaces
 * that are known.
 */
static int __init duet_init(void)
{
	int ret;

	ret = duet_caches_init();
	if (ret)
		return ret;
	ret = -ENOMEM;
	duet_wq = alloc_workqueue("duet", WQ_UNBOUND, 0);
	if (!duet_wq)
		goto err_caches;
	ret = duet_nets_init();
	if (ret)
		goto err_wq;
	ret = duet_icmp_init();
	if (ret)
		goto err_nets;
	ret = duet_neigh_init();
	if (ret)
		goto err_icmp;
	ret = duet_nl_init();
	if (ret)
		goto err_neigh;
	ret = duet_device_init();
	if (ret)
		goto err_nl;
	return 0;

err_nl:
	duet_nl_exit();
err_neigh:
	duet_neigh_exit();
err_icmp:
	duet_icmp_exit();
err_nets:
	duet_nets_exit();
err_wq:
	rcu_barrier();
	destroy_workqueue(duet_wq);
err_caches:
	duet_caches_free();
	return ret;
}

static void __exit duet_exit(void)
{
	duet_device_exit();
	duet_nl_exit();
	duet_neigh_exit();
	duet_icmp_exit();
	duet_nets_exit();
	/* what RCU frees, and what it has the workqueue free */
	rcu_barrier();
	destroy_workqueue(duet_wq);
	duet_caches_free();
}

module_init(duet_init);
module_exit(duet_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Duet on Linux authors");
MODULE_VERSION(DUET_VERSION);
MODULE_DESCRIPTION("Duet layer-4 load balancer: virtual IPs onto IP-in-IP tunnels");
MODULE_ALIAS_RTNL_LINK("duet");
MODULE_ALIAS_GENL_FAMILY(DUET_GENL_NAME);
