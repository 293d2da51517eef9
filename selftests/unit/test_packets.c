// SPDX-License-Identifier: GPL-2.0
/*
 * The golden packets (selftests/packets) through the packet core in user space,
 * under the sanitizers: verdict, packets and what is counted.
 *
 * Then the same packets, mutated, as a fuzzer would: the answers must not
 * depend on how much of a packet is linear, and never on bytes behind it.
 */
#include "../packets/core.h"
#include "vip.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define MUTATIONS	400

static struct core_result r;

static bool same(const __u8 *got, __u32 len, const struct wanted *want)
{
	__u32 i;

	if (len != want->packet.len)
		return false;
	for (i = 0; i < len; i++)
		if ((got[i] ^ want->packet.data[i]) & want->mask.data[i])
			return false;
	return true;
}

static void dump(const char *what, const __u8 *data, __u32 len)
{
	__u32 i;

	printf("# %s ", what);
	for (i = 0; i < len && i < 160; i++)
		printf("%02x", data[i]);
	putchar('\n');
}

static void run(const struct golden *g, const struct bytes *in)
{
	__u8 *copy = malloc(in->len ?: 1);

	memcpy(copy, in->data, in->len);
	core_receive(&g->core, copy, in->len, g->ethertype == 0x86dd, &r);
	free(copy);
}

static const char *text(const __u8 addr[16], char buf[INET6_ADDRSTRLEN])
{
	bool v4 = core_is_v4(addr);

	return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, buf, INET6_ADDRSTRLEN);
}

/* counted - "VIP RULE DIP BYTES" as the module would count, "" if nothing */
static void counted(char *buf, size_t size)
{
	char vip[INET6_ADDRSTRLEN], dip[INET6_ADDRSTRLEN];

	buf[0] = 0;
	if (r.verdict == DUET_VERDICT_ENCAP)
		snprintf(buf, size, "%s %u %s %u", text(r.vip->addr, vip), r.rule->place,
			 text(r.chosen, dip), r.size);
}

/* check_case - true if the core did what is wanted */
static bool check_case(const struct golden *g)
{
	bool client = false, ok;
	char count[160];
	unsigned int i;

	if (!golden_is_ip(g))
		return !strcmp(g->verdict, "pass");
	run(g, &g->in);
	if (strcmp(verdict_name(r.verdict), g->verdict)) {
		printf("# verdict %s, want %s\n", verdict_name(r.verdict), g->verdict);
		return false;
	}
	counted(count, sizeof(count));
	if (strcmp(count, g->count)) {
		printf("# counted \"%s\", want \"%s\"\n", count, g->count);
		return false;
	}
	if (r.verdict == DUET_VERDICT_PASS)
		return true;	/* what comes then is the kernel's */
	for (i = 0; i < g->n_out; i++) {
		const struct wanted *want = &g->out[i];
		const __u8 *got = want->client ? r.client : r.dip;
		__u32 len = want->client ? r.client_len : r.dip_len;

		client |= want->client;
		ok = same(got, len, want);
		/* how the outer packet is cut is the kernel's */
		if (ok || (!want->client && !r.fits))
			continue;
		dump("want", want->packet.data, want->packet.len);
		dump("got ", got, len);
		return false;
	}
	return client == !!r.client_len;
}

/* mutate - the case's packet with a few bytes changed or its end cut off: the
 * answer is the same whatever is linear, and the sanitizers are content
 */
static void mutate(const struct golden *g, unsigned int *state)
{
	unsigned int k, n = rand_r(state) % 4;
	bool v6 = g->ethertype == 0x86dd;
	enum duet_verdict va, vb;
	struct duet_tuple a, b;
	struct duet_view v, w;
	static __u8 data[2000];
	struct bytes in = { data, g->in.len };

	if (!in.len || in.len > sizeof(data))
		return;
	memcpy(data, g->in.data, in.len);
	for (k = 0; k < n; k++)
		data[rand_r(state) % (in.len < 96 ? in.len : 96)] = rand_r(state);
	if (rand_r(state) % 4 == 0)
		in.len = rand_r(state) % in.len;
	if (!v6 && in.len >= DUET_IP4_HEADER && rand_r(state) % 2) {
		duet_put16(data + 10, 0);	/* get past the checksum */
		duet_put16(data + 10, duet_sum4(data, DUET_IP4_HEADER));
	}
	run(g, &in);
	va = core_parse(data, in.len, v6, 0, &v, &a);
	vb = core_parse(data, in.len, v6, in.len, &w, &b);
	if (va != vb || (va == DUET_VERDICT_ENCAP && memcmp(&a, &b, sizeof(a))) ||
	    v.len > in.len || v.l4 > in.len) {
		printf("# %s or %s, length %u of %u, transport at %u\n", verdict_name(va),
		       verdict_name(vb), v.len, in.len, v.l4);
		dump("linear or not makes a difference:", data, in.len);
		fflush(stdout);
		abort();
	}
}

/* tcp - a packet of n bytes with a TCP header; length: what its IP header says */
static void tcp(__u8 *p, __u32 n, bool v6, __u16 length, __u8 flags)
{
	static const __u8 addr[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	memset(p, 0, n);
	if (v6)
		duet_put_ip6(p, addr, addr, DUET_PROTO_TCP, 0, length);
	else
		duet_put_ip4(p, 1, 2, DUET_PROTO_TCP, 0, length, 0, 0);
	p[(v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER) + 13] = flags;
}

/* check_tcp - which packet begins a connection, and which ends one: nothing of
 * that is seen outside of the flow table
 */
static bool check_tcp(void)
{
	static const struct {
		__u8 flags, want;
	} cases[] = {
		{ 0x02, DUET_T_SYN },
		{ 0x03, DUET_T_SYN | DUET_T_END },
		{ 0x04, DUET_T_END },
		{ 0x10, 0 },
		{ 0x11, DUET_T_END },
		{ 0x12, 0 },
		{ 0xc2, DUET_T_SYN },
		{ 0x00, 0 },
	};
	struct duet_tuple t;
	struct duet_view v;
	unsigned int i;
	__u8 p[60];

	for (i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		bool v6 = i % 2;

		tcp(p, sizeof(p), v6, v6 ? 20 : 40, cases[i / 2].flags);
		if (core_parse(p, v6 ? 60 : 40, v6, 40, &v, &t) != DUET_VERDICT_ENCAP ||
		    t.flags != (DUET_T_PORTS | cases[i / 2].want)) {
			printf("# IPv%d, TCP flags %02x: flags %02x\n", v6 ? 6 : 4, cases[i / 2].flags, t.flags);
			return false;
		}
	}
	return true;
}

/* check_gso - a length of 0 is the whole packet's if GRO made it, else wrong */
static bool check_gso(void)
{
	struct duet_tuple t;
	unsigned int i;
	__u8 p[80];

	for (i = 0; i < 8; i++) {
		bool v6 = i & 1, gso = i & 2, zero = i & 4;
		__u32 len = v6 ? DUET_IP6_HEADER + 20 : DUET_IP4_HEADER + 20;
		struct duet_view v = { .data = p, .linear = 80, .len = 80, .gso = gso };
		enum duet_verdict verdict;

		tcp(p, sizeof(p), v6, v6 ? len - DUET_IP6_HEADER : len, 2);
		if (zero) {
			duet_put16(p + (v6 ? 4 : 2), 0);
			if (!v6) {
				duet_put16(p + 10, 0);
				duet_put16(p + 10, duet_sum4(p, DUET_IP4_HEADER));
			}
		}
		verdict = v6 ? duet_parse6(&v, &t) : duet_parse4(&v, &t);
		if (zero && gso)
			len = 80;
		if (verdict != (zero && !gso ? DUET_VERDICT_DROP_HEADER : DUET_VERDICT_ENCAP) ||
		    (verdict == DUET_VERDICT_ENCAP && v.len != len)) {
			printf("# case %u: %s, length %u\n", i, verdict_name(verdict), v.len);
			return false;
		}
	}
	return true;
}

static void result(bool ok, unsigned int *n, unsigned int *failed, const char *name)
{
	printf("%s %u - %s\n", ok ? "ok" : "not ok", ++*n, name);
	*failed += !ok;
}

int main(void)
{
	unsigned int n = 0, failed = 0, state = 1, i;
	FILE *f = golden_open();
	struct golden g;

	while (f && golden_read(f, &g)) {
		result(check_case(&g), &n, &failed, g.name);
		for (i = 0; golden_is_ip(&g) && i < MUTATIONS; i++)
			mutate(&g, &state);
		golden_free(&g);
	}
	if (f)
		fclose(f);
	result(n > 0, &n, &failed, "there are golden packets");
	result(check_tcp(), &n, &failed, "the first and the last packet of a TCP connection");
	result(check_gso(), &n, &failed, "length 0 of what GRO made");
	printf("1..%u\n", n);
	return failed > 0;
}
