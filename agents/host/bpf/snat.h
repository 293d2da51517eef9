/* SPDX-License-Identifier: GPL-2.0 */
/* What the SNAT programs and the agent share. Addresses as in decap.h. */
#ifndef DUET_HOST_SNAT_H
#define DUET_HOST_SNAT_H

#include "decap.h"

#define SNAT_RANGES		32	/* (range, protocol, rule) of one client; ranges of one VIP: half as many */
#define SNAT_CLIENTS		4096
#define SNAT_TABLES		8192
#define SNAT_CLAIMS		65536
#define SNAT_PREFIXES		1024
#define SNAT_STEPS		131072	/* ports looked at in one walk */
#define SNAT_TRIES		32	/* ports that would do but are taken, before giving up */
#define SNAT_CLAIM_NS		2000000000ull	/* a port picked is another's no sooner */

/* Ports that return packets of one protocol may come to, and how muxes select for them. */
struct snat_range {
	__u16 first, last;
	__u8 proto, fields;
	__u16 unused;
	__u32 table;		/* [0]: buckets, [1 + b]: 1 if bucket b is this DIP's */
};

struct snat_source {
	struct decap_addr vip;
	struct duet_key key;	/* that its muxes choose by */
	__u32 ranges, unused;
	struct snat_range range[SNAT_RANGES];
};

/* A client's key is its address; sockets of the host are {0, 0, 0, family}, host order. */

struct snat_claim {
	struct decap_addr vip, remote;
	__be16 port, remote_port;
	__u32 proto;
};

/* Order is ABI between agent versions: append. */
enum snat_count {
	SNAT_PICKED,
	SNAT_TAKEN,		/* a port that would do was taken for this destination */
	SNAT_EXHAUSTED,		/* no port: the connection was refused, the packet dropped */
	__SNAT_COUNTS
};

#endif
