/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Addresses that are taken: a VIP that is an address of this machine, or the
 * source of a tunnel, would take the machine's own traffic.
 */
#ifndef DUET_GUARD_H
#define DUET_GUARD_H

#include "device.h"

/* All: duet_net->lock held; 0 or -errno with a sentence in extack. Addresses
 * have passed duet_parse_addr(), so their class is that of a host.
 */

/* duet_guard_vip - may addr be a new VIP of dd */
int duet_guard_vip(struct duet_dev *dd, const struct in6_addr *addr,
		   struct netlink_ext_ack *extack);
/* duet_guard_dip - may addr be a DIP of dd. An address of this machine may. */
int duet_guard_dip(struct duet_dev *dd, const struct in6_addr *addr,
		   struct netlink_ext_ack *extack);
/* duet_guard_local - may addr be the source of dd's tunnels */
int duet_guard_local(struct duet_dev *dd, const struct in6_addr *addr,
		     struct netlink_ext_ack *extack);

/* duet_guard_spread - may all addresses of addr's prefix of len bits be sources of
 * dd's tunnels
 */
int duet_guard_spread(struct duet_dev *dd, __be32 addr, unsigned int len,
		      struct netlink_ext_ack *extack);

int duet_guard_init(void);
void duet_guard_exit(void);

#endif
