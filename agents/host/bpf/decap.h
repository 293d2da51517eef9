/* SPDX-License-Identifier: GPL-2.0 */
/* What the decapsulator in the kernel and the agent share: keys and values of the maps. */
#ifndef DUET_HOST_DECAP_H
#define DUET_HOST_DECAP_H

#include <linux/types.h>

#define DECAP_MAX_SERVED	4096
#define DECAP_MAX_MUXES		4096

/* A VIP served here and the address its packets are tunnelled to. */
struct decap_key {
	__be32 vip, dip;
};

struct decap_stat {
	__u64 packets, bytes;	/* of the inner packets, as they were on the wire */
};

/* What was last asked for: survives the agent, so an old request is refused after a restart too. */
struct decap_meta {
	__u64 epoch, generation;
};

/* What became of IPv4-in-IPv4 to one of our DIPs. Order is ABI between agent versions: append. */
enum decap_reason {
	DECAP_OK,
	DECAP_FOREIGN,		/* unknown source, no VIP of ours inside: left to the stack */
	DECAP_UNKNOWN_SOURCE,	/* unknown source, a VIP of ours inside: dropped */
	DECAP_NOT_SERVED,	/* a mux sent what isn't served here: dropped */
	DECAP_FRAGMENT,		/* outer header is of a fragment: dropped */
	DECAP_MALFORMED,	/* options outside, or no IPv4 header inside: dropped */
	DECAP_ECN,		/* CE outside, inside not ECN-capable: dropped (RFC 6040) */
	DECAP_FAILED,		/* the kernel couldn't take the header off: dropped */
	__DECAP_MAX
};

#endif
