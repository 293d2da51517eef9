/* SPDX-License-Identifier: GPL-2.0 */
/* Attributes in, config structs out; 0 or -errno with extack filled. */
#ifndef DUET_NETLINK_PARSE_H
#define DUET_NETLINK_PARSE_H

#include "flow.h"
#include "vip.h"

#include <net/netlink.h>

extern const struct nla_policy duet_dip_policy[DUET_A_DIP_MAX + 1];
extern const struct nla_policy duet_vip_policy[DUET_A_VIP_MAX + 1];
extern const struct nla_policy duet_table_policy[DUET_A_TABLE_MAX + 1];
extern const struct nla_policy duet_flow_policy[DUET_A_FLOW_MAX + 1];
extern const struct nla_policy duet_flows_policy[DUET_A_FLOWS_MAX + 1];

/* duet_parse_nest - attributes of a nest that a command's policy has in it: all
 * of these were validated with the request, down to the last. To do it again
 * at every level would validate a DIP four times.
 */
static inline int duet_parse_nest(struct nlattr *tb[], int max,
				  const struct nlattr *nest,
				  struct netlink_ext_ack *extack)
{
	return nla_parse_nested(tb, max, nest, NULL, extack);
}

/* duet_parse_addr - of a host (duet/address.h). attr may be NULL: refused; `what`
 * begins the sentence.
 */
int duet_parse_addr(const struct nlattr *attr, const char *what,
		    struct in6_addr *addr, struct netlink_ext_ack *extack);
int duet_parse_vip_addr(const struct nlattr *nest, struct in6_addr *addr,
			struct netlink_ext_ack *extack);
/* duet_vip_config_new - with room for what the attribute may hold; NULL: out of
 * memory; kvfree() it
 */
struct duet_vip_config *duet_vip_config_new(const struct nlattr *nest);
/* config is of duet_vip_config_new(); rules come out in the data path's order */
int duet_parse_vip(const struct nlattr *nest, struct duet_vip_config *config,
		   struct netlink_ext_ack *extack);
/* *limits: as they are; refused below what is in use */
int duet_parse_limits(struct duet_dev *dd, const struct nlattr *nest,
		      struct duet_tables *limits,
		      struct netlink_ext_ack *extack);
/* *config: as it is now */
int duet_parse_flows(const struct nlattr *nest, struct duet_flow_config *config,
		     struct netlink_ext_ack *extack);
int duet_parse_flow(const struct nlattr *nest, struct duet_tuple *t,
		    struct netlink_ext_ack *extack);

#endif
