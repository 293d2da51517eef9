/* SPDX-License-Identifier: GPL-2.0 */
/* Outgoing connections with a VIP as source. */
#ifndef DUET_HOST_SNAT_AGENT_H
#define DUET_HOST_SNAT_AGENT_H

#include "host.h"

/* pin: a folder for the links, borrowed; nothing is loaded before there is a need */
int snat_start(const char *pin, struct snat **snat);
void snat_stop(struct snat *snat);
/* snat_apply - after NAT for targets is there: conntrack does the translation */
int snat_apply(struct snat *snat, const struct desired *d, struct err *e);
/* snat_unlink - let go of the sockets, whoever attached to them */
void snat_unlink(const char *pin);
/* snat_count - enum snat_count, of this process */
int snat_count(const struct snat *snat, unsigned int what, uint64_t *n);
/* Ports of a VIP whose return packets go by one rule. ours: as the table of
 * snat_range (bpf/snat.h), with every DIP up.
 */
struct flow_table {
	struct addr vip;
	uint16_t first, last;
	uint8_t fields;
	struct duet_key key;
	uint32_t *ours;
};

/* flows_end - end the connections that are in none of these (flows.c) */
void flows_end(const struct flow_table *tables, unsigned int n);
/* A socket that has another end. */
struct flow {
	struct addr local, remote;
	uint16_t port, remote_port;
	uint8_t proto;
};

/* flows_each - with local ports from first to last; those in TIME_WAIT too */
int flows_each(unsigned int first, unsigned int last, void (*each)(const struct flow *f, void *ctx), void *ctx);
/* forwards_each - those of a VIP that targets behind this host opened (forwards.c) */
int forwards_each(const struct addr *vip, void (*each)(const struct flow *f, void *ctx), void *ctx);
/* snat_hooked - to sockets of the host; at interfaces that targets are behind */
void snat_hooked(const struct snat *snat, uint32_t *sockets, uint32_t *forwarded);

/* ---- held.c: the ports held, over a restart of the agent; before and after programs go by them ---- */
void held_add(const char *pin, const struct desired *d);
void held_keep(const char *pin, const struct desired *d);	/* no others than these */
void held_forget(const char *pin);
struct message_range;
unsigned int held_get(const char *pin, struct message_range **ranges);	/* malloc'd */

/* ---- usage.c: how many ports are in use; host->held and host->helper are borrowed ---- */
int usage_start(struct host *host, struct usage **usage);
void usage_stop(struct usage *usage);
/* usage_state - the ports may be others now */
void usage_state(struct usage *usage);
/* held_json - what is remembered over a restart, as usage_json(), ranges alone */
json_t *held_json(struct host *host);
/* usage_json - of each VIP with ports here, for a report */
json_t *usage_json(struct usage *usage);

/* ---- forward.c: of targets behind the host ---- */
struct forward;
struct bpf_object;

int forward_start(struct forward **forward);
void forward_stop(struct forward *forward);
bool forward_hooked(const struct forward *forward);
/* forward_behind - the interface that a target is behind; 0: none known */
unsigned int forward_behind(const struct addr *target);
/* forward_hook - at these interfaces, and at no others; sockets: whose maps it shares */
int forward_hook(struct forward *forward, struct bpf_object *sockets, const unsigned int *ifindexes, unsigned int n,
		 struct err *e);

#endif
