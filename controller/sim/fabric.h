/* SPDX-License-Identifier: GPL-2.0 */
/* The fabric that is simulated: the paper's FatTree, or one from a JSON file. */
#ifndef DUET_SIM_FABRIC_H
#define DUET_SIM_FABRIC_H

#include "conf.h"
#include "../engine/engine.h"

/* struct fabric - switches in the order cores, border, Aggs, ToRs; racks are ToRs by number */
struct fabric {
	unsigned int containers, tors, aggs, cores, planes;	/* tors, aggs: of one container */
	unsigned int servers;
	double tor_mbps, core_mbps, border_mbps;
	uint32_t hosts, rules, members, tunnels;
	/* made of them */
	struct engine_switch *switches;
	struct engine_link *links;
	unsigned int n_switches, n_links;
	unsigned int border, agg0, tor0, racks;
	char (*names)[24];
};

/* fabric_paper - section 8.1: 40 containers of 40 ToRs and 4 Aggs, 40 cores */
void fabric_paper(struct fabric *f);
/* fabric_read - {"containers", "tors", "aggs", "cores", "planes", "servers", "tor-agg-mbps",
 * "agg-core-mbps", "border-mbps", "tables": {"hosts", "rules", "members", "tunnels"}}; what is
 * missing is the paper's. 0 or -EINVAL.
 */
int fabric_read(struct fabric *f, const char *file, struct err *e);
int fabric_parse(struct fabric *f, const char *text, size_t len, struct err *e);
int fabric_build(struct fabric *f, struct err *e);
void fabric_free(struct fabric *f);

static inline unsigned int fabric_container(const struct fabric *f, unsigned int rack)
{
	return rack / f->tors;
}

#endif
