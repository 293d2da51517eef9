// SPDX-License-Identifier: GPL-2.0
/* A mux's decisions around the packet core, in the order of kmod/rx.c and xmit.c. */
#include "core.h"

#include <stdlib.h>

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

bool core_is_v4(const __u8 addr[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(addr, mapped, 12);
}

static bool none(const __u8 addr[16])
{
	static const __u8 zero[16];

	return !memcmp(addr, zero, 16);
}

static const struct core_vip *find(const struct core *c, const __u8 addr[16])
{
	unsigned int i;

	for (i = 0; i < c->n; i++)
		if (!memcmp(c->vips[i].addr, addr, 16))
			return &c->vips[i];
	return NULL;
}

/* words - an address of a tuple as 16 bytes, IPv4 mapped */
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

enum duet_verdict core_parse(const __u8 *p, __u32 len, bool v6, __u32 linear,
			     struct duet_view *v, struct duet_tuple *t)
{
	enum duet_verdict verdict;

	for (;;) {
		memset(t, 0, sizeof(*t));
		*v = (struct duet_view){ .linear = linear, .len = len };
		v->data = exact(p, linear);
		verdict = v6 ? duet_parse6(v, t) : duet_parse4(v, t);
		if (verdict == DUET_VERDICT_ENCAP || !v->want)
			return verdict;
		if (v->want <= linear || v->want > len)
			abort();
		linear = v->want;
	}
}

/* answer - an ICMP message about the packet at p, in a buffer of its size; src:
 * NULL: from the VIP
 */
static void answer(struct core_result *r, const __u8 *src, const __u8 *p, __u32 len,
		   const struct duet_tuple *t, __u8 type, __u8 code, __u32 info)
{
	__u32 headers = DUET_ICMP_HEADER + (t->family == 4 ? DUET_IP4_HEADER : DUET_IP6_HEADER);
	__u32 quote = duet_icmp_quote(t->family, len);
	__u8 *msg;

	if (!duet_may_answer(t, p))
		return;
	msg = malloc(headers + quote);
	memcpy(msg + headers, p, quote);
	duet_put_icmp(msg, t->family, src, quote, type, code, info, 0);
	memcpy(r->client, msg, headers + quote);
	r->client_len = headers + quote;
	free(msg);
}

static void unreachable(struct core_result *r, const __u8 *p, __u32 len, const struct duet_tuple *t)
{
	answer(r, NULL, p, len, t, t->family == 4 ? 3 : 1, t->family == 4 ? 1 : 3, 0);
}

/* expired - from the test network's address on the client's side */
static void expired(struct core_result *r, const __u8 *p, __u32 len, const struct duet_tuple *t)
{
	static const __u8 src4[4] = { 10, 1, 0, 1 };
	static const __u8 src6[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 1 };

	answer(r, t->family == 4 ? src4 : src6, p, len, t, t->family == 4 ? 11 : 3, 0, 0);
}

static void too_big(struct core_result *r, const __u8 *p, __u32 len, const struct duet_tuple *t,
		    __u32 mtu)
{
	if (t->family == 4)
		answer(r, NULL, p, len, t, 3, 4, mtu < 0xffff ? mtu : 0xffff);
	else
		answer(r, NULL, p, len, t, 2, 0, mtu > DUET_IP6_MTU_MIN ? mtu : DUET_IP6_MTU_MIN);
}

/* reachable - the test network's routes to DIPs */
static bool reachable(const __u8 addr[16])
{
	static const __u8 net4[3] = { 10, 2, 0 }, net6[8] = { 0x20, 0x01, 0x0d, 0xb8, 0, 2 };

	return core_is_v4(addr) ? !memcmp(addr + 12, net4, 3) : !memcmp(addr, net6, 8);
}

static enum duet_verdict send_to(const struct core *c, const struct core_vip *vip, __u8 *p,
				 __u32 len, const struct duet_tuple *t, struct core_result *r)
{
	bool v4 = t->family == 4, out4 = core_is_v4(r->chosen), df = true;
	const __u8 *local = out4 ? c->local4 : c->local6;
	__u32 outer = out4 ? DUET_IP4_HEADER : DUET_IP6_HEADER, mtu = c->mtu - outer;
	__u8 proto = v4 ? DUET_PROTO_IPIP : DUET_PROTO_IPV6;
	__u8 tos = v4 ? p[1] : duet_tclass6(p);

	if (p[v4 ? 8 : 7] <= 1) {
		expired(r, p, len, t);
		return DUET_VERDICT_DROP_TTL;
	}
	if (none(local)) {
		unreachable(r, p, len, t);
		return DUET_VERDICT_DROP_NO_LOCAL;
	}
	if (!reachable(r->chosen)) {
		unreachable(r, p, len, t);
		return DUET_VERDICT_DROP_NO_ROUTE;
	}
	r->fits = len <= mtu;
	if (v4)
		df = duet_get16(p + 6) & DUET_IP_DF;
	if (!r->fits && (v4 ? df || vip->refuse || (out4 && len + outer > 0xffff) :
			      len > (mtu > DUET_IP6_MTU_MIN ? mtu : DUET_IP6_MTU_MIN))) {
		too_big(r, p, len, t, mtu);
		return DUET_VERDICT_DROP_TOO_BIG;
	}
	if (v4) {
		p[8]--;
		duet_put16(p + 10, 0);
		duet_put16(p + 10, duet_sum4(p, (p[0] & 15) * 4));
	} else {
		p[7]--;
	}
	if (out4)
		duet_put_ip4(r->dip, duet_get32(local + 12), duet_get32(r->chosen + 12), proto, tos,
			     outer + len, 0, df ? DUET_IP_DF : 0);
	else
		duet_put_ip6(r->dip, local, r->chosen, proto, tos, len);
	memcpy(r->dip + outer, p, len);
	r->dip_len = outer + len;
	return DUET_VERDICT_ENCAP;
}

static enum duet_verdict take(const struct core *c, const struct core_vip *vip, __u8 *p, __u32 len,
			      bool v6, struct core_result *r)
{
	enum duet_verdict verdict;
	struct duet_tuple t;
	struct duet_view v;
	const struct duet_key *key;
	__u32 bucket;
	unsigned int i;

	verdict = core_parse(p, len, v6, len < 40 ? len : 40, &v, &t);
	if (verdict != DUET_VERDICT_ENCAP)
		return verdict;
	if (duet_martian(p, v6))
		return DUET_VERDICT_DROP_MARTIAN;
	/* the packet's own source, not that of a flow it quotes */
	if (!memcmp(p + (v6 ? 8 : 12), v6 ? c->local6 : c->local4 + 12, v6 ? 16 : 4)) {
		if (t.proto == DUET_PROTO_IPIP || t.proto == DUET_PROTO_IPV6)
			return DUET_VERDICT_DROP_LOOP;
		if (!vip->tip)
			return DUET_VERDICT_DROP_MARTIAN;
	}
	if (t.flags & DUET_T_FRAGMENT && !vip->hash)
		return DUET_VERDICT_DROP_FRAGMENT;
	for (i = 0; i < vip->n && !duet_match(&vip->rules[i].match, &t); i++)
		;
	if (i == vip->n)
		return DUET_VERDICT_DROP_NO_RULE;
	r->vip = vip;
	r->rule = &vip->rules[i];
	r->size = v.len;
	if (!r->rule->table) {
		if (vip->all_down == 'p' && !vip->tip)
			return DUET_VERDICT_PASS;
		if (vip->all_down == 'r')
			unreachable(r, p, v.len, &t);
		return DUET_VERDICT_DROP_NO_DIP;
	}
	key = vip->tip ? &c->level2 : &c->key;
	bucket = duet_bucket(duet_tuple_hash(&t, r->rule->match.fields, key), r->rule->buckets);
	memcpy(r->chosen, r->rule->dips[r->rule->table[bucket]].addr, 16);
	return send_to(c, vip, p, v.len, &t, r);
}

/* ecn_decap - the kernel's ipv4_change_dsfield(): a wrong checksum stays wrong */
static bool ecn_decap(__u8 *p, bool v6, __u8 outer)
{
	int now = duet_ecn_decap(outer, v6 ? duet_tclass6(p) : p[1]);
	__u16 bad;

	if (now < 0)
		return false;
	if (v6) {
		p[1] = (p[1] & ~0x30) | now << 4;
	} else if ((p[1] & 3) != now) {
		bad = duet_sum4(p, DUET_IP4_HEADER);
		p[1] = (p[1] & ~3) | now;
		if (!bad && (p[0] & 15) == 5) {
			duet_put16(p + 10, 0);
			duet_put16(p + 10, duet_sum4(p, DUET_IP4_HEADER));
		}
	}
	return true;
}

static enum duet_verdict take_tip(const struct core *c, const struct core_vip *vip, __u8 *p,
				  __u32 len, bool v6, struct core_result *r)
{
	enum duet_verdict verdict;
	struct duet_tuple t;
	struct duet_view v;
	__u8 ecn, src[16];
	bool inner6;

	verdict = core_parse(p, len, v6, len < 40 ? len : 40, &v, &t);
	if (verdict != DUET_VERDICT_ENCAP)
		return verdict;
	if (duet_martian(p, v6))
		return DUET_VERDICT_DROP_MARTIAN;
	if (t.flags & DUET_T_FRAGMENT)
		return DUET_VERDICT_DROP_FRAGMENT;
	if (t.proto != DUET_PROTO_IPIP && t.proto != DUET_PROTO_IPV6)
		return DUET_VERDICT_DROP_NO_TUNNEL;
	words(t.src, t.family, src);
	if (!memcmp(src, v6 ? c->local6 : c->local4, 16))
		return DUET_VERDICT_DROP_LOOP;
	inner6 = t.proto == DUET_PROTO_IPV6;
	ecn = v6 ? duet_tclass6(p) : p[1];
	p += v.l4;
	len = v.len - v.l4;
	if (len < (inner6 ? DUET_IP6_HEADER : DUET_IP4_HEADER) || p[0] >> 4 != (inner6 ? 6 : 4) ||
	    !ecn_decap(p, inner6, ecn))
		return DUET_VERDICT_DROP_HEADER;
	return take(c, vip, p, len, inner6, r);
}

static bool known(const struct core *c, const __u8 addr[16])
{
	unsigned int i, k, n;

	for (i = 0; i < c->n; i++)
		for (k = 0; k < c->vips[i].n; k++)
			for (n = 0; n < c->vips[i].rules[k].n; n++)
				if (!memcmp(c->vips[i].rules[k].dips[n].addr, addr, 16))
					return true;
	return false;
}

static bool outer_error(const struct core *c, const __u8 *p, __u32 len, bool v6,
			struct core_result *r)
{
	__u32 linear = v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER, sum = 0;
	struct duet_outer_error e;
	struct duet_tuple t;
	struct duet_view v;
	__u8 addr[16];

	for (;;) {
		memset(&t, 0, sizeof(t));
		v = (struct duet_view){ .data = exact(p, linear), .linear = linear, .len = len };
		if (duet_parse_outer_error(&v, v6, &e, &t))
			break;
		if (!v.want)
			return false;
		if (v.want <= linear || v.want > len)
			abort();
		linear = v.want;
	}
	words(e.dip, v6 ? 6 : 4, addr);
	if (!known(c, addr))
		return false;
	words(t.dst, t.family, addr);
	if (!find(c, addr))
		return false;
	if (v6)
		sum = duet_sum(p + 8, 32, v.len - v.l4 + DUET_PROTO_ICMPV6);
	if (duet_fold(duet_sum(p + v.l4, v.len - v.l4, sum)))
		return false;
	if (e.mtu)
		too_big(r, p + e.inner, v.len - e.inner, &t,
			e.mtu - (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER));
	else
		unreachable(r, p + e.inner, v.len - e.inner, &t);
	return true;
}

static enum duet_verdict receive(const struct core *c, __u8 *p, __u32 len, bool v6,
				 struct core_result *r)
{
	__u8 dst[16] = { [10] = 0xff, [11] = 0xff };
	const struct core_vip *vip;

	if (len < (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER))
		return DUET_VERDICT_PASS;
	memcpy(v6 ? dst : dst + 12, p + (v6 ? 24 : 16), v6 ? 16 : 4);
	vip = v6 == !core_is_v4(dst) ? find(c, dst) : NULL;
	if (vip)
		return vip->tip ? take_tip(c, vip, p, len, v6, r) : take(c, vip, p, len, v6, r);
	if (!memcmp(dst, v6 ? c->local6 : c->local4, 16) &&
	    p[v6 ? 6 : 9] == (v6 ? DUET_PROTO_ICMPV6 : DUET_PROTO_ICMP) &&
	    outer_error(c, p, len, v6, r))
		return DUET_VERDICT_OUTER_ERROR;
	return DUET_VERDICT_PASS;
}

void core_receive(const struct core *c, __u8 *packet, __u32 len, bool v6, struct core_result *r)
{
	r->fits = false;
	r->vip = NULL;
	r->rule = NULL;
	r->size = 0;
	r->dip_len = 0;
	r->client_len = 0;
	r->verdict = receive(c, packet, len, v6, r);
}

static int rule_order(const void *a, const void *b)
{
	const struct duet_match *x = &((const struct core_rule *)a)->match;
	const struct duet_match *y = &((const struct core_rule *)b)->match;

	if (!x->port != !y->port)
		return x->port ? -1 : 1;
	return !x->proto - !y->proto;
}

static int dip_order(const void *a, const void *b)
{
	return duet_dip_cmp(a, b);
}

static void rule_compile(struct core_rule *rule)
{
	struct duet_walk *walk = calloc(rule->n, sizeof(*walk));
	__u32 buckets = duet_table_buckets(rule->n);
	__u16 *base = calloc(buckets, sizeof(*base));

	rule->buckets = buckets;
	rule->table = calloc(buckets, sizeof(*rule->table));
	qsort(rule->dips, rule->n, sizeof(*rule->dips), dip_order);
	if (duet_table_fill(rule->dips, rule->n, walk, base, buckets))
		abort();
	if (!duet_table_down(rule->dips, rule->n, base, rule->table, buckets)) {
		free(rule->table);
		rule->table = NULL;
	}
	free(base);
	free(walk);
}

void core_compile(struct core *c)
{
	unsigned int i, k;

	for (i = 0; i < c->n; i++) {
		for (k = 0; k < c->vips[i].n; k++)
			rule_compile(&c->vips[i].rules[k]);
		qsort(c->vips[i].rules, c->vips[i].n, sizeof(struct core_rule), rule_order);
	}
}

void core_free(struct core *c)
{
	unsigned int i, k;

	for (i = 0; i < c->n; i++) {
		for (k = 0; k < c->vips[i].n; k++) {
			free(c->vips[i].rules[k].dips);
			free(c->vips[i].rules[k].table);
		}
	}
	exact(NULL, 0);
}
