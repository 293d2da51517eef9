/* SPDX-License-Identifier: GPL-2.0 */
/* Trigger routes and links: rtnetlink by libnl-route-3. */
#ifndef DUET_LIB_ROUTE_H
#define DUET_LIB_ROUTE_H

#include "addr.h"
#include "conf.h"

#define DUET_ROUTE_TABLE	199
#define DUET_PROTO_UP		199	/* rtm_protocol: announce */
#define DUET_PROTO_DRAIN	198	/* announce with graceful shutdown */

struct rt;

int rt_open(struct rt **rt, struct err *e);
void rt_close(struct rt *rt);

/* rt_link_ensure - make link `name` of kind `kind` if it isn't there, set it up.
 * *created says which. -EEXIST if a link of another kind has the name.
 */
int rt_link_ensure(struct rt *rt, const char *name, const char *kind, bool *created, struct err *e);

/* rt_trigger_set - route p via device dev in `table` with rtm_protocol proto (create or replace) */
int rt_trigger_set(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table,
		   unsigned int proto, struct err *e);
/* rt_trigger_del - 0 also if it isn't there */
int rt_trigger_del(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table, struct err *e);

struct rt_trigger {
	struct prefix prefix;
	unsigned int proto;
};
/* rt_trigger_dump - all routes of the table on dev, sorted; *out malloc'd */
int rt_trigger_dump(struct rt *rt, const char *dev, unsigned int table, struct rt_trigger **out,
		    unsigned int *n, struct err *e);

/* rt_reachable - has the kernel a route to a (as it would route a packet now)?
 * An unreachable, blackhole or prohibit route is none. -errno: it can't be asked.
 */
int rt_reachable(struct rt *rt, const struct addr *a, bool *yes, struct err *e);
/* rt_route_link - name of the link a packet to a would leave by, in dev[16]; empty: none */
int rt_route_link(struct rt *rt, const struct addr *a, char *dev, struct err *e);

/* An address of this machine. */
struct rt_addr {
	struct addr addr;
	unsigned int len;	/* of its subnet's prefix */
	char link[16];
};
/* rt_addr_dump - all but those on lo by which a server answers as a VIP (host
 * scope, or deprecated): nobody reaches the machine by them. *out malloc'd.
 */
int rt_addr_dump(struct rt *rt, struct rt_addr **out, unsigned int *n, struct err *e);

struct rt_link {
	bool up, carrier;	/* set up by us; something is at the other end */
	unsigned int mtu, index;
};
/* rt_link_get - -ENODEV: no such link */
int rt_link_get(struct rt *rt, const char *name, struct rt_link *out, struct err *e);

/* rt_watch_fd - readable when routes changed, or what routes hang on; joined on
 * first use, closed by rt_close()
 */
int rt_watch_fd(struct rt *rt, struct err *e);
/* rt_watch_read - takes what is there and calls back for each prefix of which a
 * route in a table came, went or changed; p is NULL where that could be any
 * (a link, a nexthop or a rule changed, or the kernel had to drop messages).
 */
void rt_watch_read(struct rt *rt, void (*changed)(const struct prefix *p, unsigned int table, void *ctx), void *ctx);

#endif
