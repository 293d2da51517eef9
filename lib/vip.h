/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VIP as programs handle it: address, rules, DIPs. JSON in and out, checks,
 * comparison. The one reader of VIP definitions: duetctl, controller, mux
 * agent and CLI all use it, so all refuse the same things with the same words.
 */
#ifndef DUET_LIB_VIP_H
#define DUET_LIB_VIP_H

#include <jansson.h>
#include <linux/duet.h>
#include "addr.h"
#include "conf.h"

struct stats {
	uint64_t packets, bytes;
};

struct vip_dip {
	struct addr addr;
	uint16_t weight;
	enum duet_dip_state state;
	uint32_t buckets;	/* as the kernel told, else 0 */
	struct stats stats;	/* as the kernel told, else 0 */
};

struct vip_rule {
	uint8_t proto;		/* IP protocol; 0: any (0 itself can't be balanced) */
	uint16_t port, port_last;	/* 0: any */
	enum duet_fields fields;
	struct vip_dip *dips;	/* sorted by address */
	unsigned int n_dips;
	uint32_t buckets;	/* as the kernel told, else 0 */
	uint64_t digest;
	bool shared;		/* the kernel counts its DIPs' packets with those of other rules */
};

struct vip_policy {
	enum duet_vip_kind kind;
	enum duet_fragments fragments;
	enum duet_oversize oversize;
	enum duet_all_down all_down;
	unsigned int key;	/* 0 or 1: which key of the deployment it chooses by */
};

struct vip {
	struct addr addr;
	struct vip_policy policy;
	struct vip_rule *rules;	/* in the kernel's order: with a port, with a protocol, default */
	unsigned int n_rules;
	struct stats stats;
};

/* vip_from_json - {"vip": ADDR, "kind": "vip"|"tip", "fragments": "drop"|"hash",
 * "oversize": "fragment"|"refuse", "all_down": "drop"|"reject"|"pass", "key": 0|1, "rules": [{"proto", "port", "fields", "dips":
 * [{"address", "weight", "state"}]}]}. Members it does not know are left for
 * the caller ("announce", "check", "traffic", ...). Refuses, with a sentence
 * naming VIP, rule and DIP: no rules, no DIPs, a DIP twice, bad addresses, bad
 * ports, overlapping rules, weights out of range or all 0, a VIP as
 * its own DIP. On success *out is owned by the caller; it has no digests.
 */
int vip_from_json(json_t *json, struct vip **out, struct err *e);
/* vip_to_json - the same form; with_state adds what the kernel told (digest as
 * 16 hex digits, buckets, packets, bytes)
 */
json_t *vip_to_json(const struct vip *vip, bool with_state);
/* vip_match_from_json - {"proto", "port", "fields"} of a rule alone; where: its VIP and number, for the sentence */
int vip_match_from_json(json_t *json, const char *where, struct vip_rule *rule, struct err *e);
/* vip_policy_from_json - the policies of a VIP, text its address; what it doesn't have is the default */
int vip_policy_from_json(json_t *json, const char *text, struct vip_policy *policy, struct err *e);
void vip_free(struct vip *vip);
struct vip *vip_dup(const struct vip *vip);

/* vip_rule_at - the rule that muxes take for this port (uapi/linux/duet.h), or
 * NULL; *last becomes the last port, not above what it was, for which that is so
 */
const struct vip_rule *vip_rule_at(const struct vip *vip, uint8_t proto, unsigned int port, unsigned int *last);

enum vip_diff { VIP_SAME, VIP_STATES, VIP_CONFIG };
/* vip_compare - same; only states of DIPs differ; or rules, DIPs or weights do */
enum vip_diff vip_compare(const struct vip *a, const struct vip *b);

/* vip_digests - fill rule->buckets and rule->digest by building the tables here,
 * with the same code the kernel uses; what the controller compares muxes with.
 */
int vip_digests(struct vip *vip);

/* Names of enum values, as in JSON; -EINVAL if unknown */
const char *dip_state_name(enum duet_dip_state state);
int dip_state_parse(const char *s, enum duet_dip_state *state);
const char *fields_name(enum duet_fields fields);
int fields_parse(const char *s, enum duet_fields *fields);
const char *proto_name(uint8_t proto, char buf[8]);
int proto_parse(const char *s, uint8_t *proto);
const char *verdict_name(enum duet_verdict verdict);
const char *mode_name(enum duet_mode mode);
int mode_parse(const char *s, enum duet_mode *mode);

#endif
