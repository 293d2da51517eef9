// SPDX-License-Identifier: GPL-2.0
/*
 * Outgoing connections with a VIP as source. The port is picked so that what
 * comes back hashes to this DIP on every mux: no mux keeps any state. A socket
 * of this host is bound to VIP and port as it connects: nothing is translated.
 * What a target behind the host sends is given to conntrack with the translation
 * chosen here: conntrack translates, times out and answers for TIME_WAIT.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/errno.h>
#include <duet/packet.h>
#include "snat.h"

#define AF_INET		2
#define AF_INET6	10
#define SOL_SOCKET	1
#define SO_REUSEADDR	2
#define CT_TIMEOUT_MS	120000	/* of the first packet; conntrack's own rules follow */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SNAT_CLIENTS);
	__type(key, struct decap_addr);
	__type(value, struct snat_source);
} clients SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, SNAT_TABLES);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
	});
} snat_tables SEC(".maps");

/* Destinations that see the client's own address. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SNAT_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_prefix);
	__type(value, __u32);
} excepts SEC(".maps");

/* Between the pick of a port and the socket that has it: two CPUs must not pick the same. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SNAT_CLAIMS);
	__type(key, struct snat_claim);
	__type(value, __u64);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, __SNAT_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} snat_counts SEC(".maps");

/* The network namespace whose sockets are meant; cgroups know no bounds of that kind. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} snat_ns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} closed SEC(".maps");

struct bpf_ct_opts {
	__s32 netns_id, error;
	__u8 l4proto, dir, reserved[2];
};

/* structures, not only names of such, or libbpf finds the functions incompatible */
struct nf_conn {
	long unused;
};
struct nf_conn___init {
	long unused;
};
enum nf_nat_manip_type { NF_NAT_MANIP_SRC };

union nf_inet_addr {
	__u32 all[4];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					       struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern int bpf_ct_set_nat_info(struct nf_conn___init *ct, union nf_inet_addr *addr, int port,
			       enum nf_nat_manip_type manip) __ksym;
extern void bpf_ct_set_timeout(struct nf_conn___init *ct, __u32 timeout) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *ct) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&snat_counts, &what);

	if (n)
		(*n)++;
}

/* A walk over the ports of all ranges of a client, in each from a random one on. */
struct search {
	struct duet_tuple t;		/* as the mux will see what comes back */
	struct decap_addr client;	/* key of `clients` */
	__u32 range;			/* the next one */
	__u32 table, seed, fields, first, size, at, left;	/* of the one walked */
	__u32 port;			/* found; 0: none */
};

static __always_inline void next_range(struct search *s, const struct snat_source *source, const struct snat_range *r)
{
	s->table = r->table;
	s->fields = r->fields;
	s->seed = source->seed;
	s->first = r->first;
	s->size = r->last - r->first + 1;
	s->left = s->size;
	s->at = bpf_get_prandom_u32() % s->size;
}

static long next_port(__u32 i, struct search *s)
{
	__u32 zero = 0, key, *buckets, *ours;
	struct snat_source *source;
	void *table;

	if (!s->left) {
		source = bpf_map_lookup_elem(&clients, &s->client);
		key = s->range++;
		if (!source || key >= SNAT_RANGES || key >= source->ranges)
			return 1;
		if (source->range[key].proto == s->t.proto)
			next_range(s, source, &source->range[key]);
		return 0;
	}
	s->left--;
	s->t.dport = s->first + s->at;
	s->at = s->at + 1 < s->size ? s->at + 1 : 0;
	table = bpf_map_lookup_elem(&snat_tables, &s->table);
	if (!table)
		return 1;
	buckets = bpf_map_lookup_elem(table, &zero);
	if (!buckets)
		return 1;
	key = 1 + duet_bucket(duet_tuple_hash(&s->t, s->fields, s->seed), *buckets);
	ours = bpf_map_lookup_elem(table, &key);
	if (!ours || !*ours)
		return 0;
	s->port = s->t.dport;
	return 1;
}

/* pick - the next port whose return packets come here; 0: there is none. Not
 * static: the verifier looks at it once and not at every place it is called from
 */
__attribute__((noinline)) int pick(struct search *s)
{
	struct search walk;

	if (!s)
		return 0;
	walk = *s;
	walk.port = 0;
	bpf_loop(SNAT_STEPS, next_port, &walk, 0);
	*s = walk;
	return walk.port;
}

/* claim - has nobody else picked this within the last moment? */
static __always_inline bool claim(const struct decap_addr *vip, const struct decap_addr *remote, __be16 remote_port,
				  __u32 port, __u32 proto)
{
	struct snat_claim key = { .vip = *vip, .remote = *remote, .port = bpf_htons(port), .remote_port = remote_port,
				  .proto = proto };
	__u64 now = bpf_ktime_get_ns(), *then;

	if (!bpf_map_update_elem(&claims, &key, &now, BPF_NOEXIST))
		return true;
	then = bpf_map_lookup_elem(&claims, &key);
	if (then && now - *then < SNAT_CLAIM_NS)
		return false;
	bpf_map_update_elem(&claims, &key, &now, BPF_ANY);
	return true;
}

static __always_inline bool excepted(const struct decap_addr *remote)
{
	struct decap_prefix key = { .len = 128, .addr = *remote };

	return bpf_map_lookup_elem(&excepts, &key);
}

/* in_use - is there a socket for what comes back? One in TIME_WAIT counts, and a listener */
static __always_inline bool in_use(struct bpf_sock_addr *ctx, const struct decap_addr *vip, const struct decap_addr *remote,
				   __be16 remote_port, __u32 port, bool six)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;

	if (six) {
		__builtin_memcpy(tuple.ipv6.saddr, remote, sizeof(*remote));
		__builtin_memcpy(tuple.ipv6.daddr, vip, sizeof(*vip));
		tuple.ipv6.sport = remote_port;
		tuple.ipv6.dport = bpf_htons(port);
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = remote->w[3];
		tuple.ipv4.daddr = vip->w[3];
		tuple.ipv4.sport = remote_port;
		tuple.ipv4.dport = bpf_htons(port);
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* bound - bind the socket there */
static __always_inline bool bound(struct bpf_sock_addr *ctx, const struct decap_addr *vip, __u32 port)
{
	int one = 1;

	/* one port serves many destinations: the four numbers together must differ, not the port alone */
	if (ctx->protocol == IPPROTO_TCP)
		bpf_setsockopt(ctx, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ctx->family == AF_INET) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = bpf_htons(port) };

		at.sin_addr.s_addr = vip->w[3];
		return !bpf_bind(ctx, (struct sockaddr *)&at, sizeof(at));
	}
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = bpf_htons(port) };

	__builtin_memcpy(&at.sin6_addr, vip, sizeof(*vip));
	return !bpf_bind(ctx, (struct sockaddr *)&at, sizeof(at));
}

static __always_inline void words(__u32 *to, const struct decap_addr *a, bool six)
{
	if (six) {
		to[0] = bpf_ntohl(a->w[0]);
		to[1] = bpf_ntohl(a->w[1]);
		to[2] = bpf_ntohl(a->w[2]);
		to[3] = bpf_ntohl(a->w[3]);
	} else {
		to[0] = bpf_ntohl(a->w[3]);
	}
}

static __always_inline bool is_six(const struct decap_addr *a)
{
	return a->w[0] || a->w[1] || a->w[2] != bpf_htonl(0xffff);
}

/* connecting - 1: go on, 0: refused */
static __always_inline int connecting(struct bpf_sock_addr *ctx, const struct decap_addr *remote)
{
	bool six = is_six(remote);
	struct decap_addr key = { .w = { 0, 0, 0, six ? 6 : 4 } };
	__be16 remote_port = ctx->user_port;
	struct snat_source *source;
	struct search s = {};
	__u32 zero = 0, k, port, proto = ctx->protocol;
	__u64 *ns;

	ns = bpf_map_lookup_elem(&snat_ns, &zero);
	if (!ns || *ns != bpf_get_netns_cookie(ctx) || (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return 1;
	source = bpf_map_lookup_elem(&clients, &key);
	/* a socket that was bound goes as it was told to */
	if (!source || excepted(remote) || !ctx->sk || ctx->sk->src_port)
		return 1;
	s.t.proto = proto;
	s.t.family = six ? 6 : 4;
	s.t.sport = bpf_ntohs(remote_port);
	words(s.t.src, remote, six);
	words(s.t.dst, &source->vip, six);
	s.client = key;
	for (k = 0; k < SNAT_TRIES; k++) {
		port = pick(&s);
		if (!port)
			break;
		if ((proto != IPPROTO_TCP || !in_use(ctx, &source->vip, remote, remote_port, port, six)) &&
		    claim(&source->vip, remote, remote_port, port, proto) && bound(ctx, &source->vip, port)) {
			count(SNAT_PICKED);
			return 1;
		}
		count(SNAT_TAKEN);
	}
	count(SNAT_EXHAUSTED);
	bpf_set_retval(-EADDRNOTAVAIL);
	return 0;
}

SEC("cgroup/connect4")
int duet_connect4(struct bpf_sock_addr *ctx)
{
	struct decap_addr remote = { .w = { 0, 0, bpf_htonl(0xffff), ctx->user_ip4 } };

	if (ctx->sk && ctx->sk->src_ip4)
		return 1;
	return connecting(ctx, &remote);
}

SEC("cgroup/connect6")
int duet_connect6(struct bpf_sock_addr *ctx)
{
	struct decap_addr remote = { .w = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };
	struct bpf_sock *sk = ctx->sk;

	if (!sk || sk->src_ip6[0] || sk->src_ip6[1] || sk->src_ip6[2] || sk->src_ip6[3])
		return 1;
	return connecting(ctx, &remote);
}

/* A service that ends closes what it listened on: the agent asks after services at
 * once. Which port it was, a program here may not read.
 */
SEC("cgroup/sock_release")
int duet_release(struct bpf_sock *sk)
{
	struct snat_closed event = {};
	__u32 zero = 0;
	__u64 *ns;

	if (sk->state != BPF_TCP_LISTEN)
		return 1;
	ns = bpf_map_lookup_elem(&snat_ns, &zero);
	if (ns && *ns == bpf_get_netns_cookie(sk))
		bpf_ringbuf_output(&closed, &event, sizeof(event), 0);
	return 1;
}

/* translated - a conntrack entry with this source; false: another has these numbers */
static __always_inline bool translated(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size, __u8 proto,
				       const struct decap_addr *vip, bool six, __u32 port)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = proto };
	struct nf_conn___init *new;
	union nf_inet_addr addr = {};
	struct nf_conn *ct;

	if (six)
		__builtin_memcpy(&addr, vip, sizeof(*vip));
	else
		addr.all[0] = vip->w[3];
	new = bpf_skb_ct_alloc(skb, tuple, size, &opts, sizeof(opts));
	if (!new)
		return false;
	bpf_ct_set_timeout(new, CT_TIMEOUT_MS);
	bpf_ct_set_nat_info(new, &addr, port, NF_NAT_MANIP_SRC);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return false;
	bpf_ct_release(ct);
	return true;
}

/* forwarded - a flow that a target behind the host opens; @size: of the tuple */
static __always_inline int forwarded(struct __sk_buff *skb, const struct decap_addr *from, const struct decap_addr *to,
				     struct bpf_sock_tuple *tuple, __u32 size, __be16 to_port, __u8 proto, bool six)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = proto };
	struct snat_source *source = bpf_map_lookup_elem(&clients, from);
	struct search s = {};
	struct nf_conn *ct;
	__u32 port, k;

	if (!source || excepted(to))
		return TC_ACT_UNSPEC;
	ct = bpf_skb_ct_lookup(skb, tuple, size, &opts, sizeof(opts));
	if (ct) {
		bpf_ct_release(ct);
		return TC_ACT_UNSPEC;
	}
	s.t.proto = proto;
	s.t.family = six ? 6 : 4;
	s.t.sport = bpf_ntohs(to_port);
	words(s.t.src, to, six);
	words(s.t.dst, &source->vip, six);
	s.client = *from;
	for (k = 0; k < SNAT_TRIES; k++) {
		port = pick(&s);
		if (!port)
			break;
		if (translated(skb, tuple, size, proto, &source->vip, six, port)) {
			count(SNAT_PICKED);
			return TC_ACT_UNSPEC;
		}
		count(SNAT_TAKEN);
	}
	count(SNAT_EXHAUSTED);
	return TC_ACT_SHOT;
}

SEC("tc")
int duet_snat(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {};
	struct decap_addr from, to;
	struct ports { __be16 source, dest; } ports;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) ||
		    (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP) ||
		    (ip.frag_off & bpf_htons(DUET_IP_FRAGMENT)) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, &ports, sizeof(ports)))
			return TC_ACT_UNSPEC;
		from = (struct decap_addr){ { 0, 0, bpf_htonl(0xffff), ip.saddr } };
		to = (struct decap_addr){ { 0, 0, bpf_htonl(0xffff), ip.daddr } };
		tuple.ipv4.saddr = ip.saddr;
		tuple.ipv4.daddr = ip.daddr;
		tuple.ipv4.sport = ports.source;
		tuple.ipv4.dport = ports.dest;
		return forwarded(skb, &from, &to, &tuple, sizeof(tuple.ipv4), ports.dest, ip.protocol, false);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)) ||
		    (ip6.nexthdr != IPPROTO_TCP && ip6.nexthdr != IPPROTO_UDP) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip6), &ports, sizeof(ports)))
			return TC_ACT_UNSPEC;
		__builtin_memcpy(&from, &ip6.saddr, sizeof(from));
		__builtin_memcpy(&to, &ip6.daddr, sizeof(to));
		__builtin_memcpy(tuple.ipv6.saddr, &ip6.saddr, sizeof(from));
		__builtin_memcpy(tuple.ipv6.daddr, &ip6.daddr, sizeof(to));
		tuple.ipv6.sport = ports.source;
		tuple.ipv6.dport = ports.dest;
		return forwarded(skb, &from, &to, &tuple, sizeof(tuple.ipv6), ports.dest, ip6.nexthdr, true);
	}
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
