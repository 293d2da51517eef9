/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The agent's end of the helper (message.h): the helper is forked before the agent
 * opens anything, holds BPF, nftables, lo, sysctls and the fence, and does what it
 * is asked to. Requests are answered before these functions return. If the helper
 * ends, so does the agent.
 */
#ifndef DUET_HOST_HELPER_H
#define DUET_HOST_HELPER_H

#include "bpf/snat.h"
#include "message.h"
#include "snat.h"

/* What is attached, for people. */
struct dp_facts {
	uint32_t program, mtu;
	uint32_t xdp, taken_over, replaced;
	char pin[256], pin_why[256], xdp_why[512];	/* pin: "" if not pinned */
};

struct helper_status {
	struct decap_meta fence;
	struct dp_facts facts;
	uint64_t reasons[__DECAP_MAX];
	uint64_t snat[__SNAT_COUNTS];
	uint32_t snat_sockets, snat_forwarded;
};

struct served_row {
	struct decap_key key;
	struct decap_served value;
};

struct rack_row {
	uint32_t number;
	char name[RACK_NAME];
};

/* helper_fork - returns in the agent, once all is attached; -errno and a sentence: the helper couldn't start, and ended */
int helper_fork(const struct conf *conf, struct helper **helper, struct err *e);
/* helper_watch - the agent ends when the helper does; checks->hurry when a socket that listened is closed */
int helper_watch(struct helper *helper, sd_event *loop, struct checks *checks);
void helper_stop(struct helper *helper);

/* ---- state ---- */
int helper_apply(struct helper *helper, const struct desired *d, struct changed *c, struct err *e);
void helper_down(struct helper *helper, const struct decap_key *key, const struct addr *target, bool down);
/* helper_fence - as fencing_pass(); *held: the fence afterwards */
int helper_fence(struct helper *helper, const struct decap_meta *asked, struct decap_meta *held, struct err *e);
int helper_unfence(struct helper *helper, struct decap_meta *was, struct err *e);

/* ---- health of checks, kept over a restart ---- */
bool helper_health_get(struct helper *helper, const struct decap_health_key *key, struct decap_health *health);
/* helper_health_set - NULL: forget */
void helper_health_set(struct helper *helper, const struct decap_health_key *key, const struct decap_health *health);

/* ---- reads: rows are malloc'd, NULL and 0 if there are none ---- */
void helper_status(struct helper *helper, struct helper_status *status);
struct served_row *helper_served(struct helper *helper, unsigned int *n);
struct meter_row *helper_meters(struct helper *helper, unsigned int *n);
struct rack_row *helper_racks(struct helper *helper, unsigned int *n);
struct message_prefix *helper_muxes(struct helper *helper, unsigned int *n);
struct message_range *helper_held(struct helper *helper, unsigned int *n);
/* helper_forwards - connections of a VIP that targets behind this host opened; 0 or -errno */
int helper_forwards(struct helper *helper, const struct addr *vip, void (*each)(const struct flow *f, void *ctx), void *ctx);

/* helper_socket - not connected, non-blocking: TCP with the mark of that target, or raw for echo replies only; -errno */
int helper_socket(struct helper *helper, const struct decap_key *key, const struct addr *target, bool icmp);

/* ---- privileged.c: the helper itself, which doesn't return ---- */
void privileged(int socket, int hurry, const struct conf *conf) __attribute__((noreturn));

#endif
