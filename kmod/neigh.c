// SPDX-License-Identifier: GPL-2.0
/*
 * Neighbours of cached routes.
 */
#include "neigh.h"

#include <net/ndisc.h>
#include <net/netevent.h>
#include <net/route.h>

u32 duet_neigh_seq __read_mostly;

/* duet_neigh_lookup - find or make; an error pointer if there is no memory */
static struct neighbour *duet_neigh_lookup(struct duet_route *route,
					   const struct duet_tunnel *tunnel)
{
	struct net_device *dev = route->dst->dev;
	const struct rtable *rt;

	if (tunnel->v6)
		return ip_neigh_gw6(dev, rt6_nexthop((struct rt6_info *)route->dst,
						     &tunnel->addr));
	rt = (const struct rtable *)route->dst;
	route->gw = rt->rt_gw4;
	route->gw_family = rt->rt_gw_family;
	if (route->gw_family == AF_INET6)
		return ip_neigh_gw6(dev, &rt->rt_gw6);
	return ip_neigh_gw4(dev, route->gw_family ? route->gw :
						    tunnel->addr.s6_addr32[3]);
}

/* duet_neigh_lost - is the neighbour one that didn't answer? Then it is asked
 * again, but no packet waits for it: the clients hear that the DIP is unreachable.
 */
static bool duet_neigh_lost(struct duet_route *route, struct neighbour *n)
{
	u8 state = READ_ONCE(n->nud_state);

	if (state & NUD_VALID)
		return false;
	return state & NUD_FAILED ||
	       (route->neigh_seq == DUET_NEIGH_LOST && route->neigh == n);
}

noinline struct neighbour *duet_neigh_find(struct duet_route *route,
					   const struct duet_tunnel *tunnel)
{
	/* before the lookup: what changes in it is seen by the next packet */
	u32 seq = smp_load_acquire(&duet_neigh_seq);
	struct neighbour *n = duet_neigh_lookup(route, tunnel);

	if (IS_ERR(n)) {
		route->neigh_seq = DUET_NEIGH_NONE;
		return NULL;
	}
	if (duet_neigh_lost(route, n)) {
		neigh_event_send(n, NULL);
		seq = DUET_NEIGH_LOST;
	}
	route->neigh = n;
	route->neigh_seq = seq;
	return seq == DUET_NEIGH_LOST ? NULL : n;
}

/* duet_neigh_event - a neighbour changed or is about to be freed. The chain is
 * atomic, and may be called on several CPUs at once.
 */
static int duet_neigh_event(struct notifier_block *nb, unsigned long event,
			    void *ptr)
{
	static DEFINE_SPINLOCK(lock);
	unsigned long flags;

	if (event != NETEVENT_NEIGH_UPDATE)
		return NOTIFY_DONE;
	spin_lock_irqsave(&lock, flags);
	/* pairs with duet_neigh_find() */
	smp_store_release(&duet_neigh_seq, duet_neigh_seq + 2);
	spin_unlock_irqrestore(&lock, flags);
	return NOTIFY_DONE;
}

static struct notifier_block duet_neigh_notifier = {
	.notifier_call = duet_neigh_event,
};

int __init duet_neigh_init(void)
{
	return register_netevent_notifier(&duet_neigh_notifier);
}

void duet_neigh_exit(void)
{
	unregister_netevent_notifier(&duet_neigh_notifier);
}
