/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A finished frame to its netdev.
 *
 * dev_queue_xmit() asks of each packet whether there is a queueing discipline, an
 * egress filter or a tap, and what of the packet the hardware can't do. Where the
 * answers are that there is nothing to do, the driver is called straight, like
 * pktgen and AF_PACKET's PACKET_QDISC_BYPASS do; in every other case, dev_queue_xmit()
 * is. Only netdevs without a transmit lock (veth, VLAN, bond, bridge, dummy): those
 * have no queueing discipline unless somebody adds one, and nothing to lock.
 *
 * What dev_queue_xmit() counts to end a loop through stacked netdevs isn't counted
 * here: a loop has a netdev in it that transmits with dev_queue_xmit(), because a
 * route that leads into a mux isn't used (duet_tunnel_lookup()).
 */
#ifndef DUET_TRANSMIT_H
#define DUET_TRANSMIT_H

#include "compat.h"

#include <linux/if_vlan.h>
#include <net/sch_generic.h>

#if DUET_DIRECT

/* duet_egress_hooked - is there an egress filter of tc or nftables */
static __always_inline bool duet_egress_hooked(const struct net_device *dev)
{
#if DUET_HAVE_DEV_TCX_EGRESS
	if (rcu_access_pointer(dev->tcx_egress))
		return true;
#elif DUET_HAVE_DEV_MINIQ_EGRESS
	if (rcu_access_pointer(dev->miniq_egress))
		return true;
#endif
#if DUET_HAVE_DEV_NF_HOOKS_EGRESS
	if (rcu_access_pointer(dev->nf_hooks_egress))
		return true;
#endif
	return false;
}

/* duet_is_plain - would validate_xmit_skb() leave the packet as it is, and has
 * nobody asked for the time when it is queued
 */
static __always_inline bool duet_is_plain(const struct sk_buff *skb,
					  const struct net_device *dev)
{
	if (unlikely(skb->ip_summed == CHECKSUM_PARTIAL ||
		     skb_vlan_tag_present(skb) || skb_shinfo(skb)->gso_size ||
		     skb_shinfo(skb)->tx_flags))
		return false;
	if (likely(!skb_is_nonlinear(skb)))
		return true;
	return !skb_has_frag_list(skb) && !dev->netdev_ops->ndo_features_check &&
	       (dev->features & (NETIF_F_SG | NETIF_F_HIGHDMA)) ==
	       (NETIF_F_SG | NETIF_F_HIGHDMA);
}

/* duet_pick_queue - as netdev_core_pick_tx() */
static __always_inline u16 duet_pick_queue(struct net_device *dev,
					   struct sk_buff *skb)
{
	u16 queue;

#ifdef CONFIG_XPS
	if (skb->sender_cpu - 1 >= nr_cpu_ids)
		skb->sender_cpu = raw_smp_processor_id() + 1;
#endif
	if (likely(dev->real_num_tx_queues == 1))
		return 0;
	queue = dev->netdev_ops->ndo_select_queue ?
		dev->netdev_ops->ndo_select_queue(dev, skb, NULL) :
		netdev_pick_tx(dev, skb, NULL);
	return netdev_cap_txqueue(dev, queue);
}

/* duet_transmit_direct - false: the frame is for dev_queue_xmit() */
static __always_inline bool duet_transmit_direct(struct sk_buff *skb,
						 struct net_device *dev)
{
	struct netdev_queue *txq;
	u16 queue;

	if (unlikely(!duet_netdev_lltx(dev) ||
		     !(dev->priv_flags & IFF_XMIT_DST_RELEASE) ||
		     duet_egress_hooked(dev) || !duet_is_plain(skb, dev) ||
		     dev_nit_active(dev)))
		return false;
	queue = duet_pick_queue(dev, skb);
	txq = netdev_get_tx_queue(dev, queue);
	/* a netdev that is down has one that takes everything */
	if (unlikely(rcu_dereference_bh(txq->qdisc)->enqueue ||
		     netif_xmit_frozen_or_stopped(txq)))
		return false;
	skb_set_queue_mapping(skb, queue);
	skb_dst_drop(skb);
	skb_reset_mac_header(skb);
#if IS_ENABLED(CONFIG_NET_CLS_ACT)
	skb->tc_at_ingress = 0;
#endif
	if (unlikely(!dev_xmit_complete(netdev_start_xmit(skb, dev, txq, false))))
		kfree_skb(skb);
	return true;
}
#else
static __always_inline bool duet_transmit_direct(struct sk_buff *skb,
						 struct net_device *dev)
{
	return false;
}
#endif

/* duet_transmit - consumes skb, which has its link-layer header. RCU, BH off. */
static __always_inline void duet_transmit(struct sk_buff *skb,
					  struct net_device *dev)
{
	if (unlikely(!duet_transmit_direct(skb, dev)))
		dev_queue_xmit(skb);
}

#endif
