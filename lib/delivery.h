/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a host does with packets of a VIP: to the VIP on its loopback, by NAT to one
 * target, or by NAT to the target that the second-level hash gives. The one reader of
 * it, for controller and host agent.
 */
#ifndef DUET_LIB_DELIVERY_H
#define DUET_LIB_DELIVERY_H

#include <jansson.h>
#include <stdint.h>
#include "addr.h"
#include "conf.h"

enum delivery { DELIVERY_LO, DELIVERY_NAT, DELIVERY_VIRTUAL };
extern const char *const delivery_names[];

struct delivery_target {
	struct addr address;
	uint16_t weight;
};

/* What comes to port goes to port `to`; others stay as they are. */
struct delivery_port {
	uint8_t proto;
	uint16_t port, to;
};

/* host_address - an address a host can have; what: names it in the sentence that refuses */
int host_address(json_t *text, const char *what, struct addr *out, struct err *e);
/* delivery_parse - the name of one; absent: lo */
int delivery_parse(json_t *name, const char *where, enum delivery *how, struct err *e);
/* delivery_targets - [{"address", "weight"}] by address; out has room for all of the list, and for one; no
 * list: the DIP is the one target of nat
 */
int delivery_targets(json_t *list, enum delivery how, const struct addr *vip, const struct addr *dip, const char *where,
		     struct delivery_target *out, unsigned int *n, struct err *e);
/* delivery_ports - [{"proto", "port", "to"}]; out has room for all of the list */
int delivery_ports(json_t *list, enum delivery how, const char *where, struct delivery_port *out, unsigned int *n,
		   struct err *e);

#endif
