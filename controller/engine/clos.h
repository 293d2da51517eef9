/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Clos fabrics: containers of ToRs and Aggs, each ToR linked to all Aggs of
 * its container, cores in planes, each Agg linked to all cores of its plane;
 * every container has the same number of Aggs in every plane. The paper's
 * FatTree is one with as many planes as Aggs, its testbed one with one plane.
 */
#ifndef DUET_ENGINE_CLOS_H
#define DUET_ENGINE_CLOS_H

#include <stdbool.h>
#include <stdint.h>

struct engine_model;

/*
 * Numbers within a tier: ToR t; Agg x * A + i, of container x, plane i / a;
 * core p * k + m, of plane p. Link arrays hold 2 * link + dir:
 * up1, down1 [t * A + i]; up2, down2 [(x * A + i) * k + m]; in [core].
 */
struct clos {
	unsigned int tors, aggs, cores, containers;
	unsigned int A, a, k, planes;	/* Aggs a container; a plane and container; cores a plane */
	unsigned int L;			/* links of a container to the cores: A * k */
	int border;			/* node, or -1 */
	uint8_t *tier;			/* by node: enum engine_tier */
	uint32_t *number;		/* by node: within its tier */
	uint32_t *tor_node, *agg_node, *core_node;
	uint32_t *tor_container;	/* by ToR */
	uint32_t *container;		/* by node; UINT32_MAX: none */
	uint32_t *up1, *down1, *up2, *down2, *in;
};

/* clos_detect - NULL: it is none, something failed in it, or no memory (the general way is right
 * all the same)
 */
struct clos *clos_detect(const struct engine_model *model);
void clos_free(struct clos *c);

/* clos_flow - ECMP of one unit by formula, as hop(link and dir, one in so many, ctx); false: not
 * one of the pairs it knows (paths that go down and up again)
 */
bool clos_flow(const struct clos *c, unsigned int from, unsigned int to,
	       void (*hop)(void *ctx, uint32_t link, uint32_t one_in), void *ctx);

#endif
