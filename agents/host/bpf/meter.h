/* SPDX-License-Identifier: GPL-2.0 */
/* Metering: what VIPs take in and give out, by the rack of the other end. Per CPU, exact. */
#ifndef DUET_HOST_METER_H
#define DUET_HOST_METER_H

#include "maps.h"

#define TCP_HEADER_LENGTH	12	/* offset of the byte whose upper half is the length in words */

/* row - of this pair and the rack that @other is in; NULL: the map is full */
static __always_inline struct decap_meter *row(__u16 index, const struct decap_addr *other)
{
	static const struct decap_meter zero;
	struct decap_prefix prefix = { .len = 128, .addr = *other };
	struct decap_meter *m;
	__u32 *rack, key;

	rack = bpf_map_lookup_elem(&racks, &prefix);
	key = (__u32)index << 16 | (rack ? *rack & 0xffff : 0);
	m = bpf_map_lookup_elem(&meters, &key);
	if (m)
		return m;
	bpf_map_update_elem(&meters, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&meters, &key);
}

/* on_the_wire - a packet that GRO or an offload made one of several counts as
 * those. @l3: offset of its IP header, @header: length of that one; @bytes: in
 * as one packet, out as several. Returns how many.
 */
static __always_inline __u32 on_the_wire(struct __sk_buff *skb, __u32 l3, __u32 header, __u8 proto, __u32 *bytes)
{
	__u32 segments = skb->gso_segs, size = skb->gso_size;
	__u8 length;

	if (!size)
		return 1;
	*bytes = skb->len - l3;
	if (proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, l3 + header + TCP_HEADER_LENGTH, &length, 1))
			return 1;
		header += (length >> 4) * 4;
	} else {
		header += 8;
	}
	if (*bytes <= header)
		return 1;
	/* what came through an untrusted virtual NIC has a size only */
	if (!segments)
		segments = (*bytes - header + size - 1) / size;
	*bytes += (segments - 1) * header;
	return segments;
}

#endif
