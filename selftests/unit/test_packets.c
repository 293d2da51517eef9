// SPDX-License-Identifier: GPL-2.0
/*
 * The golden packets (selftests/packets) through the packet core in user space,
 * under the sanitizers: the same include/duet/packet.h, hash.h and table.h as in
 * the module, with what is kernel (routes, neighbours, fragmentation) left out.
 * A packet lies in a buffer of exactly the bytes that were said to be linear,
 * so that one read too many ends the test.
 *
 * Then the same packets, mutated, as a fuzzer would: the answers must not
 * depend on how much of a packet is linear, and never on bytes behind it.
 */
#include <duet/packet.h>
#include <duet/table.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_OUT		4
#define MAX_VIPS	8
#define MUTATIONS	400

struct rule {
	struct duet_match match;
	unsigned int n;
	struct duet_dip dips[DUET_SET_DIPS_MAX];
};

struct vip {
	__u8 addr[16];
	bool tip, hash, refuse;
	char all_down;		/* d, r or p */
	unsigned int n;
	struct rule rules[8];
};

struct bytes {
	__u8 data[70000];
	__u32 len;
};

struct wanted {
	bool client;
	struct bytes packet, mask;
};

static struct test {
	char name[128], verdict[32];
	__u32 seed, mtu;
	unsigned int ethertype;
	__u8 local4[16], local6[16];
	struct vip vips[MAX_VIPS];
	unsigned int n_vips, n_out;
	struct bytes in;
	struct wanted out[MAX_OUT];
} t;

/* What the core made of it; sent: 0 nothing, 4 or 6 an outer header. */
static struct result {
	enum duet_verdict verdict;
	int to_dip;
	struct bytes dip, client;
} r;

static const char *const verdicts[] = {
	"pass", "encap", "header", "no-rule", "no-dip", "fragment", "ttl", "too-big",
	"no-route", "no-local", "memory", "loop", "no-tunnel", "outer-error",
};

static void addr(const char *text, __u8 out[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET6, text, out) == 1)
		return;
	memcpy(out, mapped, 12);
	if (inet_pton(AF_INET, text, out + 12) != 1)
		abort();
}

static bool is_v4(const __u8 a[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(a, mapped, 12);
}

static void hex(const char *text, struct bytes *b)
{
	for (b->len = 0; text[0] > ' ' && text[1] > ' '; text += 2)
		sscanf(text, "%2hhx", &b->data[b->len++]);
}

/* exact - a copy of the first n bytes that ends where the buffer ends */
static const __u8 *exact(const __u8 *data, __u32 n)
{
	static __u8 *last;

	free(last);
	last = malloc(n ?: 1);
	if (n)
		memcpy(last, data, n);
	return last;
}

static struct vip *find(const __u8 a[16])
{
	unsigned int i;

	for (i = 0; i < t.n_vips; i++)
		if (!memcmp(t.vips[i].addr, a, 16))
			return &t.vips[i];
	return NULL;
}

static void words(const __u32 w[4], __u8 family, __u8 out[16])
{
	int i;

	memset(out, 0, 16);
	if (family == 4) {
		memset(out + 10, 0xff, 2);
		duet_put32(out + 12, w[0]);
		return;
	}
	for (i = 0; i < 4; i++)
		duet_put32(out + 4 * i, w[i]);
}

/* parse - more of the packet becomes linear as it is asked for */
static enum duet_verdict parse(const __u8 *p, __u32 len, bool v6, __u32 linear,
			       struct duet_view *v, struct duet_tuple *tuple)
{
	enum duet_verdict verdict;

	for (;;) {
		memset(tuple, 0, sizeof(*tuple));
		*v = (struct duet_view){ .linear = linear, .len = len };
		v->data = exact(p, linear);
		verdict = v6 ? duet_parse6(v, tuple) : duet_parse4(v, tuple);
		if (verdict == DUET_VERDICT_ENCAP || !v->want)
			return verdict;
		if (v->want <= linear || v->want > len)
			abort();
		linear = v->want;
	}
}

static void answer(const __u8 *p, __u32 len, const struct duet_tuple *tuple,
		   __u8 type, __u8 code, __u32 info)
{
	__u32 headers = DUET_ICMP_HEADER + (tuple->family == 4 ? DUET_IP4_HEADER : DUET_IP6_HEADER);
	__u32 quote = duet_icmp_quote(tuple->family, len);
	__u8 *msg;

	if (!duet_may_answer(tuple, p))
		return;
	msg = malloc(headers + quote);
	memcpy(msg + headers, p, quote);
	duet_put_icmp(msg, tuple->family, quote, type, code, info, 0);
	memcpy(r.client.data, msg, headers + quote);
	r.client.len = headers + quote;
	free(msg);
}

static void unreachable(const __u8 *p, __u32 len, const struct duet_tuple *tuple)
{
	answer(p, len, tuple, tuple->family == 4 ? 3 : 1, tuple->family == 4 ? 1 : 3, 0);
}

static void too_big(const __u8 *p, __u32 len, const struct duet_tuple *tuple, __u32 mtu)
{
	if (tuple->family == 4)
		answer(p, len, tuple, 3, 4, mtu);
	else
		answer(p, len, tuple, 2, 0, mtu > DUET_IP6_MTU_MIN ? mtu : DUET_IP6_MTU_MIN);
}

static bool none(const __u8 a[16])
{
	static const __u8 zero[16];

	return !memcmp(a, zero, 16);
}

/* reachable - the test network's routes to DIPs */
static bool reachable(const __u8 a[16])
{
	static const __u8 net4[3] = { 10, 2, 0 }, net6[8] = { 0x20, 0x01, 0x0d, 0xb8, 0, 2 };

	return is_v4(a) ? !memcmp(a + 12, net4, 3) : !memcmp(a, net6, 8);
}

static enum duet_verdict send_to(const struct vip *vip, const __u8 dip[16], __u8 *p, __u32 len,
				 const struct duet_tuple *tuple)
{
	bool v4 = tuple->family == 4, out4 = is_v4(dip), df = true, fits;
	const __u8 *local = out4 ? t.local4 : t.local6;
	__u32 outer = out4 ? DUET_IP4_HEADER : DUET_IP6_HEADER, mtu = t.mtu - outer;
	__u8 own[16], proto = v4 ? DUET_PROTO_IPIP : DUET_PROTO_IPV6;

	if (p[v4 ? 8 : 7] <= 1)
		return DUET_VERDICT_DROP_TTL;
	if (none(local))
		return DUET_VERDICT_DROP_NO_LOCAL;
	words(tuple->src, tuple->family, own);
	if ((tuple->proto == DUET_PROTO_IPIP || tuple->proto == DUET_PROTO_IPV6) &&
	    !memcmp(own, v4 ? t.local4 : t.local6, 16))
		return DUET_VERDICT_DROP_LOOP;
	if (!reachable(dip))
		return DUET_VERDICT_DROP_NO_ROUTE;
	fits = len <= mtu;
	if (v4)
		df = duet_get16(p + 6) & DUET_IP_DF;
	if (!fits && (v4 ? df || vip->refuse : len > (mtu > DUET_IP6_MTU_MIN ? mtu : DUET_IP6_MTU_MIN))) {
		too_big(p, len, tuple, mtu);
		return DUET_VERDICT_DROP_TOO_BIG;
	}
	if (v4) {
		p[8]--;
		duet_put16(p + 10, 0);
		duet_put16(p + 10, duet_sum4(p, (p[0] & 15) * 4));
	} else {
		p[7]--;
	}
	r.to_dip = fits ? out4 ? 4 : 6 : 0;	/* fragments are the kernel's */
	if (out4)
		duet_put_ip4(r.dip.data, duet_get32(local + 12), duet_get32(dip + 12), proto,
			     v4 ? p[1] : duet_tclass6(p), outer + len, 0, df ? DUET_IP_DF : 0);
	else
		duet_put_ip6(r.dip.data, local, dip, proto, v4 ? p[1] : duet_tclass6(p), len);
	memcpy(r.dip.data + outer, p, len);
	r.dip.len = outer + len;
	return DUET_VERDICT_ENCAP;
}

static int rule_order(const void *a, const void *b)
{
	const struct duet_match *x = a, *y = b;

	if (!x->port != !y->port)
		return x->port ? -1 : 1;
	return !x->proto - !y->proto;
}

static int dip_order(const void *a, const void *b)
{
	return duet_dip_cmp(a, b);
}

static enum duet_verdict take(struct vip *vip, __u8 *p, __u32 len, bool v6)
{
	static __u16 base[DUET_BUCKETS_MAX], table[DUET_BUCKETS_MAX];
	static struct duet_walk walk[DUET_SET_DIPS_MAX];
	enum duet_verdict verdict;
	struct duet_tuple tuple;
	struct rule *rule = NULL;
	struct duet_view v;
	__u32 seed = t.seed, buckets, bucket;
	unsigned int i;

	verdict = parse(p, len, v6, len < 40 ? len : 40, &v, &tuple);
	if (verdict != DUET_VERDICT_ENCAP)
		return verdict;
	if (tuple.flags & DUET_T_FRAGMENT && !vip->hash)
		return DUET_VERDICT_DROP_FRAGMENT;
	qsort(vip->rules, vip->n, sizeof(vip->rules[0]), rule_order);
	for (i = 0; i < vip->n && !rule; i++)
		if (duet_match(&vip->rules[i].match, &tuple))
			rule = &vip->rules[i];
	if (!rule)
		return DUET_VERDICT_DROP_NO_RULE;
	if (vip->tip)
		seed = duet_seed_level2(seed);
	qsort(rule->dips, rule->n, sizeof(rule->dips[0]), dip_order);
	buckets = duet_table_buckets(rule->n);
	if (duet_table_fill(rule->dips, rule->n, walk, base, buckets))
		abort();
	if (!duet_table_down(rule->dips, rule->n, base, table, buckets)) {
		if (vip->all_down == 'p')
			return DUET_VERDICT_PASS;
		if (vip->all_down == 'r')
			unreachable(p, v.len, &tuple);
		return DUET_VERDICT_DROP_NO_DIP;
	}
	bucket = duet_bucket(duet_tuple_hash(&tuple, rule->match.fields, seed), buckets);
	return send_to(vip, rule->dips[table[bucket]].addr, p, v.len, &tuple);
}

static enum duet_verdict take_tip(struct vip *vip, __u8 *p, __u32 len, bool v6)
{
	enum duet_verdict verdict;
	struct duet_tuple tuple;
	struct duet_view v;
	__u8 ecn, src[16];
	bool inner6;
	int now;

	verdict = parse(p, len, v6, len < 40 ? len : 40, &v, &tuple);
	if (verdict != DUET_VERDICT_ENCAP)
		return verdict;
	if (tuple.flags & DUET_T_FRAGMENT)
		return DUET_VERDICT_DROP_FRAGMENT;
	if (tuple.proto != DUET_PROTO_IPIP && tuple.proto != DUET_PROTO_IPV6)
		return DUET_VERDICT_DROP_NO_TUNNEL;
	words(tuple.src, tuple.family, src);
	if (!memcmp(src, v6 ? t.local6 : t.local4, 16))
		return DUET_VERDICT_DROP_LOOP;
	inner6 = tuple.proto == DUET_PROTO_IPV6;
	ecn = v6 ? duet_tclass6(p) : p[1];
	p += v.l4;
	len = v.len - v.l4;
	if (len < (inner6 ? DUET_IP6_HEADER : DUET_IP4_HEADER) || p[0] >> 4 != (inner6 ? 6 : 4))
		return DUET_VERDICT_DROP_HEADER;
	now = duet_ecn_decap(ecn, inner6 ? duet_tclass6(p) : p[1]);
	if (now < 0)
		return DUET_VERDICT_DROP_HEADER;
	if (inner6) {
		p[1] = (p[1] & ~0x30) | now << 4;
	} else if ((p[1] & 3) != now) {
		/* a wrong checksum stays wrong */
		__u16 bad = duet_sum4(p, DUET_IP4_HEADER);

		p[1] = (p[1] & ~3) | now;
		if (!bad && (p[0] & 15) == 5) {
			duet_put16(p + 10, 0);
			duet_put16(p + 10, duet_sum4(p, DUET_IP4_HEADER));
		}
	}
	return take(vip, p, len, inner6);
}

static bool known(const __u8 a[16])
{
	unsigned int i, k, n;

	for (i = 0; i < t.n_vips; i++)
		for (k = 0; k < t.vips[i].n; k++)
			for (n = 0; n < t.vips[i].rules[k].n; n++)
				if (!memcmp(t.vips[i].rules[k].dips[n].addr, a, 16))
					return true;
	return false;
}

static bool outer_error(const __u8 *p, __u32 len, bool v6)
{
	__u32 linear = v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER, sum = 0;
	struct duet_outer_error e;
	struct duet_tuple tuple;
	struct duet_view v;
	__u8 a[16];

	for (;;) {
		memset(&tuple, 0, sizeof(tuple));
		v = (struct duet_view){ .data = exact(p, linear), .linear = linear, .len = len };
		if (duet_parse_outer_error(&v, v6, &e, &tuple))
			break;
		if (!v.want)
			return false;
		if (v.want <= linear || v.want > len)
			abort();
		linear = v.want;
	}
	words(e.dip, v6 ? 6 : 4, a);
	if (!known(a))
		return false;
	words(tuple.dst, tuple.family, a);
	if (!find(a))
		return false;
	if (v6)
		sum = duet_sum(p + 8, 32, v.len - v.l4 + DUET_PROTO_ICMPV6);
	if (duet_fold(duet_sum(p + v.l4, v.len - v.l4, sum)))
		return false;
	if (e.mtu)
		too_big(p + e.inner, v.len - e.inner, &tuple, e.mtu - (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER));
	else
		unreachable(p + e.inner, v.len - e.inner, &tuple);
	return true;
}

static enum duet_verdict receive(__u8 *p, __u32 len, bool v6)
{
	__u8 dst[16] = { [10] = 0xff, [11] = 0xff };
	struct vip *vip;

	if (len < (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER))
		return DUET_VERDICT_PASS;
	memcpy(v6 ? dst : dst + 12, p + (v6 ? 24 : 16), v6 ? 16 : 4);
	vip = v6 == !is_v4(dst) ? find(dst) : NULL;
	if (vip)
		return vip->tip ? take_tip(vip, p, len, v6) : take(vip, p, len, v6);
	if (!memcmp(dst, v6 ? t.local6 : t.local4, 16) &&
	    p[v6 ? 6 : 9] == (v6 ? DUET_PROTO_ICMPV6 : DUET_PROTO_ICMP) && outer_error(p, len, v6))
		return DUET_VERDICT_OUTER_ERROR;
	return DUET_VERDICT_PASS;
}

static bool same(const struct bytes *got, const struct wanted *want)
{
	__u32 i;

	if (got->len != want->packet.len)
		return false;
	for (i = 0; i < got->len; i++)
		if ((got->data[i] ^ want->packet.data[i]) & want->mask.data[i])
			return false;
	return true;
}

static void dump(const char *what, const struct bytes *b)
{
	__u32 i;

	printf("# %s ", what);
	for (i = 0; i < b->len && i < 160; i++)
		printf("%02x", b->data[i]);
	putchar('\n');
}

static void run(const struct bytes *in)
{
	__u8 *copy = malloc(in->len ?: 1);

	memcpy(copy, in->data, in->len);
	r = (struct result){};
	r.verdict = receive(copy, in->len, t.ethertype == 0x86dd);
	free(copy);
}

/* check_case - true if the core did what is wanted */
static bool check_case(void)
{
	bool ok = true, client = false;
	unsigned int i;

	if (t.ethertype != 0x0800 && t.ethertype != 0x86dd)
		return !strcmp(t.verdict, "pass");
	run(&t.in);
	if (strcmp(verdicts[r.verdict], t.verdict)) {
		printf("# verdict %s, want %s\n", verdicts[r.verdict], t.verdict);
		return false;
	}
	if (r.verdict == DUET_VERDICT_PASS)
		return true;	/* what comes then is the kernel's */
	for (i = 0; i < t.n_out && ok; i++) {
		client |= t.out[i].client;
		if (t.out[i].client)
			ok = same(&r.client, &t.out[i]);
		else if (r.to_dip)
			ok = same(&r.dip, &t.out[i]);
		if (!ok) {
			dump("want", &t.out[i].packet);
			dump("got ", t.out[i].client ? &r.client : &r.dip);
		}
	}
	return ok && client == !!r.client.len;
}

/* mutate - the case's packet with a few bytes changed or its end cut off: the
 * answer is the same whatever is linear, and the sanitizers are content
 */
static void mutate(unsigned int *state)
{
	static struct bytes in;
	struct duet_tuple a, b;
	enum duet_verdict va, vb;
	struct duet_view v, w;
	bool v6 = t.ethertype == 0x86dd;
	unsigned int k, n = rand_r(state) % 4;

	in = t.in;
	if (!in.len || in.len > 2000)
		return;
	for (k = 0; k < n; k++)
		in.data[rand_r(state) % (in.len < 96 ? in.len : 96)] = rand_r(state);
	if (rand_r(state) % 4 == 0)
		in.len = rand_r(state) % in.len;
	if (!v6 && in.len >= DUET_IP4_HEADER && rand_r(state) % 2) {
		duet_put16(in.data + 10, 0);	/* get past the checksum */
		duet_put16(in.data + 10, duet_sum4(in.data, DUET_IP4_HEADER));
	}
	run(&in);
	va = parse(in.data, in.len, v6, 0, &v, &a);
	vb = parse(in.data, in.len, v6, in.len, &w, &b);
	if (va != vb || (va == DUET_VERDICT_ENCAP && memcmp(&a, &b, sizeof(a))) ||
	    v.len > in.len || v.l4 > in.len) {
		printf("# %s or %s, length %u of %u, transport at %u\n", verdicts[va],
		       verdicts[vb], v.len, in.len, v.l4);
		dump("linear or not makes a difference:", &in);
		fflush(stdout);
		abort();
	}
}

static void config(const char *key, char *rest)
{
	char a[64], b[64], c[64], d[64], e[64];
	struct vip *vip = t.n_vips ? &t.vips[t.n_vips - 1] : NULL;
	struct rule *rule = vip && vip->n ? &vip->rules[vip->n - 1] : NULL;

	if (!strcmp(key, "seed"))
		t.seed = strtoul(rest, NULL, 0);
	else if (!strcmp(key, "mtu"))
		t.mtu = strtoul(rest, NULL, 0);
	else if (!strcmp(key, "ethertype"))
		t.ethertype = strtoul(rest, NULL, 16);
	else if (!strcmp(key, "local4") && strcmp(rest, "none"))
		addr(rest, t.local4);
	else if (!strcmp(key, "local6") && strcmp(rest, "none"))
		addr(rest, t.local6);
	else if (!strcmp(key, "vip") && sscanf(rest, "%63s %63s %63s %63s %63s", a, b, c, d, e) == 5 &&
		 t.n_vips < MAX_VIPS) {
		vip = &t.vips[t.n_vips++];
		addr(a, vip->addr);
		vip->tip = !strcmp(b, "tip");
		vip->hash = !strcmp(c, "hash");
		vip->refuse = !strcmp(d, "refuse");
		vip->all_down = e[0];
	} else if (!strcmp(key, "rule") && sscanf(rest, "%63s %63s %63s %63s", a, b, c, d) == 4 && vip) {
		rule = &vip->rules[vip->n++];
		rule->match.proto = atoi(a);	/* any: 0 */
		rule->match.port = atoi(b);
		rule->match.port_last = atoi(c);
		rule->match.fields = !strcmp(d, "5tuple") ? DUET_FIELDS_5TUPLE :
				     !strcmp(d, "src") ? DUET_FIELDS_SRC : DUET_FIELDS_SRC_PORT;
	} else if (!strcmp(key, "dip") && sscanf(rest, "%63s %63s %63s", a, b, c) == 3 && rule) {
		struct duet_dip *dip = &rule->dips[rule->n++];

		addr(a, dip->addr);
		dip->weight = atoi(b);
		dip->down = strcmp(c, "up");
	}
}

static void line(char *text)
{
	char *word = strsep(&text, " "), *next;

	if (!text)
		text = "";
	if (!strcmp(word, "case")) {
		memset(&t, 0, sizeof(t));
		snprintf(t.name, sizeof(t.name), "%s", text);
	} else if (!strcmp(word, "config")) {
		next = strsep(&text, " ");
		config(next, text);
	} else if (!strcmp(word, "in")) {
		hex(text, &t.in);
	} else if (!strcmp(word, "verdict")) {
		snprintf(t.verdict, sizeof(t.verdict), "%s", text);
	} else if (!strcmp(word, "out") && t.n_out < MAX_OUT) {
		struct wanted *want = &t.out[t.n_out++];

		want->client = !strcmp(strsep(&text, " "), "client");
		next = strsep(&text, " ");
		hex(next, &want->packet);
		hex(text, &want->mask);
	}
}

int main(void)
{
	unsigned int n = 0, failed = 0, state = 1, i;
	char *text = NULL, path[4096];
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/test/packets.txt", getenv("O") ?: "out");
	f = fopen(path, "r");
	if (!f) {
		perror(path);
		return 1;
	}
	while (getline(&text, &size, f) > 0) {
		text[strcspn(text, "\n")] = 0;
		if (strcmp(text, "end")) {
			line(text);
			continue;
		}
		if (check_case()) {
			printf("ok %u - %s\n", ++n, t.name);
		} else {
			printf("not ok %u - %s\n", ++n, t.name);
			failed++;
		}
		if (t.ethertype == 0x0800 || t.ethertype == 0x86dd)
			for (i = 0; i < MUTATIONS; i++)
				mutate(&state);
	}
	exact(NULL, 0);
	free(text);
	fclose(f);
	printf("1..%u\n", n);
	return failed || !n;
}
