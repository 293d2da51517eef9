// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: packets, ICMP errors and errors about the outer header through the
 * packet core. The first two bytes choose the golden packet whose configuration
 * it is, the third the family, the rest is the packet. Beyond what the
 * sanitizers see, whatever comes out must be a packet that a host would take.
 */
#include "../packets/core.h"

#include <stdint.h>
#include <stdlib.h>

static struct core *cores;
static unsigned int n_cores;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct golden g;
	FILE *f = golden_open();

	while (f && golden_read(f, &g)) {
		cores = realloc(cores, (n_cores + 1) * sizeof(*cores));
		cores[n_cores++] = g.core;
		memset(&g.core, 0, sizeof(g.core));
		golden_free(&g);
	}
	if (!n_cores)
		exit(1);
	fclose(f);
	return 0;
}

static void must(bool x)
{
	if (!x)
		__builtin_trap();
}

/* good_ip - version, length and checksum of a header */
static void good_ip(const __u8 *p, __u32 len)
{
	must(len >= DUET_IP4_HEADER);
	if (p[0] >> 4 == 4) {
		must(duet_get16(p + 2) == len && !duet_sum4(p, (p[0] & 15) * 4));
		return;
	}
	must(p[0] >> 4 == 6 && len >= DUET_IP6_HEADER &&
	     duet_get16(p + 4) + DUET_IP6_HEADER == len);
}

/* good_answer - an ICMP error about a packet that is no error, to one host */
static void good_answer(const __u8 *p, __u32 len)
{
	bool v4 = p[0] >> 4 == 4;
	__u32 at = v4 ? DUET_IP4_HEADER : DUET_IP6_HEADER, sum = 0;
	const __u8 *q = p + at + DUET_ICMP_HEADER;

	good_ip(p, len);
	must(len <= (v4 ? DUET_ICMP4_ANSWER_MAX : DUET_IP6_MTU_MIN));
	must(p[v4 ? 9 : 6] == (v4 ? DUET_PROTO_ICMP : DUET_PROTO_ICMPV6));
	if (!v4)
		sum = duet_sum(p + 8, 32, len - at + DUET_PROTO_ICMPV6);
	must(!duet_fold(duet_sum(p + at, len - at, sum)));
	/* from whom the quoted packet was for, to whom it came from; where its time ran out, from the mux */
	must(q[0] >> 4 == (v4 ? 4 : 6));
	must(p[at] == (v4 ? 11 : 3) ||
	     !memcmp(p + (v4 ? 12 : 8), q + (v4 ? 16 : 24), v4 ? 4 : 16));
	must(!memcmp(p + (v4 ? 16 : 24), q + (v4 ? 12 : 8), v4 ? 4 : 16));
	must(v4 ? p[16] && p[16] != 127 && p[16] < 224 : p[24] != 0xff);
	if (v4 && q[9] == DUET_PROTO_ICMP && (q[0] & 15) == 5)
		must(!duet_icmp4_is_error(q[DUET_IP4_HEADER]));
	if (!v4 && q[6] == DUET_PROTO_ICMPV6)
		must(!duet_icmp6_is_error(q[DUET_IP6_HEADER]));
}

/* same_anyhow - how much of it is linear makes no difference */
static void same_anyhow(const __u8 *p, __u32 len, bool v6)
{
	enum duet_verdict va, vb;
	struct duet_tuple a, b;
	struct duet_view v, w;

	va = core_parse(p, len, v6, 0, &v, &a);
	vb = core_parse(p, len, v6, len, &w, &b);
	must(va == vb && v.len <= len && v.l4 <= len);
	must(va != DUET_VERDICT_ENCAP || (!memcmp(&a, &b, sizeof(a)) && v.l4 == w.l4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct core_result r;
	const struct core *c;
	__u8 *packet;
	bool v6;

	if (size < 3 || size > CORE_PACKET)
		return 0;
	c = &cores[duet_get16(data) % n_cores];
	v6 = data[2] & 1;
	data += 3;
	size -= 3;
	same_anyhow(data, size, v6);
	packet = malloc(size ?: 1);
	memcpy(packet, data, size);
	core_receive(c, packet, size, v6, &r);
	must(r.verdict <= DUET_VERDICT_MAX);
	must(!r.dip_len == (r.verdict != DUET_VERDICT_ENCAP));
	if (r.dip_len) {
		__u32 outer = r.dip[0] >> 4 == 4 ? DUET_IP4_HEADER : DUET_IP6_HEADER;

		good_ip(r.dip, r.dip_len);
		must(r.size + outer == r.dip_len);
		good_ip(r.dip + outer, r.size);
	}
	if (r.client_len)
		good_answer(r.client, r.client_len);
	free(packet);
	return 0;
}
