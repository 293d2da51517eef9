// SPDX-License-Identifier: GPL-2.0
/*
 * The golden packets (selftests/packets) through the packet core in user space,
 * under the sanitizers: verdict, packets and what is counted.
 *
 * Then the same packets, mutated, as a fuzzer would: the answers must not
 * depend on how much of a packet is linear, and never on bytes behind it.
 */
#include "../packets/core.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define MUTATIONS	400

static struct core_result r;

static const char *const verdicts[] = {
	"pass", "encap", "header", "no-rule", "no-dip", "fragment", "ttl", "too-big",
	"no-route", "no-local", "memory", "loop", "no-tunnel", "outer-error",
};

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
	if (strcmp(verdicts[r.verdict], g->verdict)) {
		printf("# verdict %s, want %s\n", verdicts[r.verdict], g->verdict);
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
		printf("# %s or %s, length %u of %u, transport at %u\n", verdicts[va],
		       verdicts[vb], v.len, in.len, v.l4);
		dump("linear or not makes a difference:", data, in.len);
		fflush(stdout);
		abort();
	}
}

int main(void)
{
	unsigned int n = 0, failed = 0, state = 1, i;
	FILE *f = golden_open();
	struct golden g;

	while (f && golden_read(f, &g)) {
		bool ok = check_case(&g);

		printf("%s %u - %s\n", ok ? "ok" : "not ok", ++n, g.name);
		failed += !ok;
		for (i = 0; golden_is_ip(&g) && i < MUTATIONS; i++)
			mutate(&g, &state);
		golden_free(&g);
	}
	if (f)
		fclose(f);
	printf("1..%u\n", n);
	return failed || !n;
}
