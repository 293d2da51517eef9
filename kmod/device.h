/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mux: one net_device of kind "duet" with its tables.
 *
 * Locking. duet_net->lock protects the configuration of all devices of a
 * network namespace: everything below but what is marked otherwise. It nests
 * inside rtnl_lock. The data path holds rcu_read_lock() and nothing else; it
 * sees VIPs, sets and tunnels that were complete when they were published and
 * are freed a grace period after they were unlinked.
 */
#ifndef DUET_DEVICE_H
#define DUET_DEVICE_H

#include <duet/hash.h>
#include <duet/limits.h>
#include <linux/duet.h>
#include <linux/etherdevice.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <net/ipv6.h>
#include <net/netns/generic.h>

#include "keepalive.h"
#include "stats.h"

#define DUET_VIP_HASH_BITS	14
#define DUET_TUNNEL_HASH_BITS	12
#define DUET_GROUP_HASH_BITS	10

struct duet_net {
	struct mutex lock;		/* see above */
	struct list_head devices;	/* of duet_dev.node; RCU may read it */
	unsigned int n_attached;	/* muxes, rtnl */
	unsigned int seq;		/* of the list, for dumps */
	bool guest;			/* an ordinary user's: see guest.h */
	atomic_long_t bytes;		/* guest.c's */
};

struct duet_tables {
	u32 vips;
	u32 rules;
	u32 members;
	u32 tunnels;
	u32 backends;
};

/* Settings of the flow table, as netlink has them; timeouts in seconds. */
struct duet_flow_config {
	u32 max;		/* entries, 0: no table */
	u32 rate;		/* new entries a second and CPU, 0: any */
	u32 timeout_new, timeout_tcp, timeout_fin, timeout_other;
};

struct duet_verdicts {
	struct duet_stats v[__DUET_VERDICT_MAX];
};

/* How outer packets leave, as netlink has it. */
struct duet_underlay {
	u32 link;		/* ifindex, 0: any netdev */
	u32 mark;
	u8 tos;			/* DUET_TOS_INHERIT, or a DSCP in its upper six bits */
	u8 spread4;		/* length of the prefix of local4 that sources are of */
};

/* A key of the deployment, and what follows from it. It is written only while no
 * VIP uses it and no packet can have a VIP that did.
 */
struct duet_keys {
	struct duet_key level1, level2;
	u8 bytes[DUET_KEY_LEN];		/* zeros: not set */
};

struct duet_dev {
	/* read by the data path; written under the lock with WRITE_ONCE */
	struct hlist_head *vips;	/* RCU, 1 << DUET_VIP_HASH_BITS */
	struct duet_verdicts __percpu *verdicts;
	struct duet_flows __rcu *flows;	/* smux mode, unless off */
	struct duet_slots __rcu *slots;	/* smux mode */
	struct net *net;		/* set once */
	__be32 local4, mask4;		/* duet_is_local4(), duet_source4() */
	bool running;			/* up: ports take packets */
	bool has_local6;
	u8 tos_keep, tos_set;		/* duet_outer_tos() */
	struct in6_addr local6;		/* duet_local6() */
	u32 link, mark;			/* of struct duet_underlay */
	u32 entropy;			/* set once: what flows are spread by */
	struct duet_keys keys[DUET_KEYS];	/* rules->key points into them */

	/* configuration, under the lock */
	struct net_device *dev;
	char name[IFNAMSIZ];		/* dev's */
	struct list_head node;		/* in duet_net.devices */
	struct hlist_head tunnels[1 << DUET_TUNNEL_HASH_BITS];
	struct hlist_head groups[1 << DUET_GROUP_HASH_BITS];
	struct ida slot_ids;
	u32 last_backend, last_rule, last_tunnel;	/* ids given */
	struct list_head ports;		/* of duet_port.node */
	unsigned int n_ports;
	enum duet_mode mode;
	u64 generation;
	struct duet_tables limits;	/* 0: unbounded */
	struct duet_tables used;
	struct duet_flow_config flow_config;
	struct duet_underlay underlay;
	struct duet_keepalive keepalive;
};

extern struct rtnl_link_ops duet_link_ops;
extern struct workqueue_struct *duet_wq;	/* unbound: nothing in it is urgent */

struct duet_net *duet_pernet(const struct net *net);

/* duet_locked - is duet_net->lock held? For rcu_dereference_protected(). */
#define duet_locked(dd)	lockdep_is_held(&duet_pernet((dd)->net)->lock)

static inline void duet_assert_locked(const struct duet_dev *dd)
{
	lockdep_assert_held(&duet_pernet(dd->net)->lock);
}

static inline struct duet_flows *duet_flows_locked(const struct duet_dev *dd)
{
	return rcu_dereference_protected(dd->flows, duet_locked(dd));
}

/* duet_dev_find - by ifindex, else by name; duet_net->lock held */
struct duet_dev *duet_dev_find(struct duet_net *dn, u32 ifindex, const char *name);

/* duet_local6 - source of IPv6 outer headers, NULL: none; RCU. It is written only
 * while no packet can have it.
 */
static inline const struct in6_addr *duet_local6(const struct duet_dev *dd)
{
	/* pairs with duet_set_local6() */
	return smp_load_acquire(&dd->has_local6) ? &dd->local6 : NULL;
}

/* duet_is_local6 - RCU */
static inline bool duet_is_local6(const struct duet_dev *dd,
				  const struct in6_addr *addr)
{
	const struct in6_addr *local6 = duet_local6(dd);

	return local6 && ipv6_addr_equal(addr, local6);
}

/* duet_is_local4 - is it a source of our IPv4 outer headers */
static inline bool duet_is_local4(const struct duet_dev *dd, __be32 addr)
{
	return !((addr ^ READ_ONCE(dd->local4)) & READ_ONCE(dd->mask4));
}

/* duet_source4 - the source of the outer header of a flow */
static inline __be32 duet_source4(const struct duet_dev *dd, u32 entropy)
{
	__be32 mask = READ_ONCE(dd->mask4);

	return (READ_ONCE(dd->local4) & mask) | ((__force __be32)entropy & ~mask);
}

/* duet_outer_tos - of a packet that has tos: a fixed DSCP, or its own; always its
 * own ECN (RFC 6040, normal mode: the whole field is copied, CE too)
 */
static inline u8 duet_outer_tos(const struct duet_dev *dd, u8 tos)
{
	return (tos & READ_ONCE(dd->tos_keep)) | READ_ONCE(dd->tos_set);
}

/* duet_set_underlay - lock held; what is cached of routes must go then */
void duet_set_underlay(struct duet_dev *dd, const struct duet_underlay *underlay);
/* duet_link_vrf - the VRF that outer packets leave by, 0: none; RCU */
int duet_link_vrf(const struct duet_dev *dd);

/* duet_dev_changed - new generation after a change; lock held */
static inline void duet_dev_changed(struct duet_dev *dd)
{
	duet_assert_locked(dd);
	dd->generation++;
}

/* duet_keys_ready - after a change of keys->bytes */
void duet_keys_ready(struct duet_keys *keys);

/* duet_dev_preset - limits a mode starts with */
const struct duet_tables *duet_dev_preset(enum duet_mode mode);

/* duet_count - count a packet of len bytes; BH off */
static inline void duet_count(struct duet_dev *dd, enum duet_verdict verdict,
			      unsigned int len)
{
	duet_stats_add(&this_cpu_ptr(dd->verdicts)->v[verdict], len);
}

/* duet_nets_init - what there is of each network namespace; duet_device_init -
 * netdevs of kind "duet"; duet_device_exit - all of them are gone
 */
int duet_nets_init(void);
void duet_nets_exit(void);
int duet_device_init(void);
void duet_device_exit(void);

#endif
