/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packet core in user space: the same include/duet/packet.h, hash.h and
 * table.h as in the module, for tests and fuzzers, with what is kernel left
 * out: neighbours, fragmentation, rate limits, the flow table. Every packet is
 * given to the core in a buffer of exactly the bytes that are said to be
 * linear, so that a sanitizer sees one read too many.
 */
#ifndef SELFTESTS_PACKETS_CORE_H
#define SELFTESTS_PACKETS_CORE_H

#include <duet/packet.h>
#include <duet/table.h>
#include <stdio.h>

#define CORE_VIPS	8
#define CORE_RULES	8
#define CORE_PACKET	66000
#define GOLDEN_OUT	8

/* A rule and the table of its set; table: NULL if no DIP is up. */
struct core_rule {
	struct duet_match match;
	unsigned int place;	/* in the VIP, as it was written */
	struct duet_dip *dips;
	unsigned int n;
	__u16 *table;
	__u32 buckets;
};

struct core_vip {
	__u8 addr[16];		/* IPv4: mapped */
	bool tip, hash, refuse;
	char all_down;		/* d, r or p */
	unsigned int n;
	struct core_rule rules[CORE_RULES];
};

/* A mux: addresses all zero are none. */
struct core {
	struct duet_key key, level2;
	__u32 mtu;
	__u8 local4[16], local6[16];
	unsigned int n;
	struct core_vip vips[CORE_VIPS];
};

/* What the core made of a packet. dip_len: of the packet to a DIP, which is
 * whole here: what doesn't fit the kernel fragments, and fits is false.
 */
struct core_result {
	enum duet_verdict verdict;
	bool fits;
	const struct core_vip *vip;
	const struct core_rule *rule;
	__u8 chosen[16];
	__u32 size;		/* of the client's packet */
	__u32 dip_len, client_len;
	__u8 dip[CORE_PACKET + DUET_IP6_HEADER], client[DUET_IP6_MTU_MIN];
};

/* core_receive - the packet in from a port; its bytes may be changed */
void core_receive(const struct core *c, __u8 *packet, __u32 len, bool v6,
		  struct core_result *r);
/* core_parse - by a core that finds linear bytes first, and more as it asks */
enum duet_verdict core_parse(const __u8 *p, __u32 len, bool v6, __u32 linear,
			     struct duet_view *v, struct duet_tuple *t);
/* core_compile - tables of all rules, and rules in the kernel's order */
void core_compile(struct core *c);
void core_free(struct core *c);
bool core_is_v4(const __u8 addr[16]);

struct bytes {
	__u8 *data;
	__u32 len;
};

/* A golden packet, from what selftests/packets/packets.py --emit writes. */
struct golden {
	char name[128], verdict[32], count[160];
	unsigned int ethertype, n_out;
	struct core core;
	struct bytes in;
	struct wanted {
		bool client;
		struct bytes packet, mask;
	} out[GOLDEN_OUT];
};

/* golden_open - $O/test/packets.txt; NULL after a sentence to stderr */
FILE *golden_open(void);
/* golden_read - the next case, golden_free() it; false: no more */
bool golden_read(FILE *f, struct golden *g);
void golden_free(struct golden *g);
static inline bool golden_is_ip(const struct golden *g)
{
	return g->ethertype == 0x0800 || g->ethertype == 0x86dd;
}

#endif
