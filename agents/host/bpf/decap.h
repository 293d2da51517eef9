/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the BPF programs and the agent share: keys and values of the maps.
 * Addresses are 16 bytes in network order, IPv4 mapped (::ffff:a.b.c.d), so that
 * one map serves both families: struct addr of lib/addr.h, in words.
 */
#ifndef DUET_HOST_DECAP_H
#define DUET_HOST_DECAP_H

#include <duet/packet.h>
#include <linux/types.h>

#define DECAP_MAX_SERVED	4096	/* (VIP, DIP) pairs of a host */
#define DECAP_MAX_MUXES		4096
#define DECAP_MAX_RACKS		65535	/* prefixes that name source racks; rack 0 is "none of them" */
#define DECAP_MAX_METERS	65536	/* (VIP, rack) rows that have seen traffic */
#define DECAP_MAX_LOCALS	65535	/* targets behind this host */
#define DECAP_MAX_HEALTH	8192
#define DECAP_MAX_SOURCES	1024	/* prefixes that clients may have */
#define DECAP_MAX_REASONS	64	/* room for those to come: the map is taken over by later agents */

#define DECAP_SETTINGS		64
#define DECAP_NAME		64	/* of a setting of the host */
#define DECAP_VALUE		16

/* skb->mark of a decapsulated packet says which target of this host it is for;
 * nftables reads it and clears it.
 */
#define DECAP_MARK		0xd0e70000u
#define DECAP_MARK_MASK		0xffff0000u

struct decap_addr {
	__be32 w[4];
};

/* A VIP served here and the address its packets are tunnelled to. */
struct decap_key {
	struct decap_addr vip, dip;
};

enum decap_delivery {
	DELIVER_LO,		/* to the VIP on this host's loopback */
	DELIVER_NAT,		/* marked for the one target */
	DELIVER_VIRTUAL,	/* marked for the target that the second-level table gives */
};

struct decap_served {
	__u16 index;		/* of the pair: its rows in `meters`, its table in `choices` */
	__u16 delivery;
	__u16 target;		/* DELIVER_NAT: its number */
	__u16 mss4;		/* what the tunnel leaves of the MTU to a TCP segment */
	__u16 mss6;
	__u16 flags;		/* DECAP_RULES, DECAP_SOURCES */
	__u16 key;		/* DELIVER_VIRTUAL: which of decap_settings.level2 */
	__u16 unused;
};

/* Of one VIP; while its definition changes, those before and after. */
#define DECAP_RULES_MAX	(2 * DUET_VIP_RULES_MAX)

#define DECAP_RULES	1	/* `accepts` says what the VIP accepts; else all */
#define DECAP_SOURCES	2	/* `sources` says whom it is accepted from; else from all */

/* What a VIP accepts: its rules, as muxes have them. */
struct decap_rules {
	__u32 n, fragments;	/* enum duet_fragments */
	struct duet_match match[DECAP_RULES_MAX];
};

/* Row key: index << 16 | rack. Of the inner packets, as they were on the wire. */
struct decap_meter {
	__u64 in_packets, in_bytes, out_packets, out_bytes;
};

/* LPM key; len counts from the beginning of the mapped form. Value: rack, 1 .. 65535 */
struct decap_prefix {
	__u32 len;
	struct decap_addr addr;
};

struct decap_settings {
	struct duet_key level2[DUET_KEYS];
};

/* What was last asked for: survives the agent, so an old request is refused after a restart too. */
struct decap_meta {
	__u64 epoch, generation;
};

/* A target behind this host: its number (in marks) survives the agent. */
struct decap_local {
	struct decap_addr vip, dip, target;
};

/* State of a check: survives the agent. */
struct decap_health_key {
	struct decap_addr vip, dip, target;
	__u32 rule;
};

struct decap_health {
	__u32 state, spare;
	__u64 since_ms;
	char reason[160];
};

/* What became of IP-in-IP to one of our DIPs, and of what left. Order is ABI between agent versions: append. */
enum decap_reason {
	DECAP_OK,
	DECAP_FOREIGN,		/* unknown source, no VIP of ours inside: left to the stack */
	DECAP_UNKNOWN_SOURCE,	/* unknown source, a VIP of ours inside: dropped */
	DECAP_NOT_SERVED,	/* a mux sent what isn't served here: dropped */
	DECAP_FRAGMENT,		/* the outer packet is a fragment: left to the stack, which puts it together */
	DECAP_MALFORMED,	/* options outside, or no IP header inside: dropped */
	DECAP_ECN,		/* CE outside, inside not ECN-capable: dropped (RFC 6040) */
	DECAP_FAILED,		/* the kernel couldn't take the header off: dropped */
	DECAP_NO_TARGET,	/* no target behind this host is up: dropped */
	DECAP_CLAMPED,		/* a SYN that left with a smaller MSS than it had */
	DECAP_NO_RULE,		/* no rule of the VIP accepts it, or the flow that it is an error about: dropped */
	DECAP_INNER_FRAGMENT,	/* a fragment, and the VIP accepts none: dropped */
	DECAP_SOURCE,		/* of a client that no prefix of the host's configuration has: dropped */
	DECAP_TTL,		/* the inner packet has no hop left: dropped */
	__DECAP_MAX
};

#endif
