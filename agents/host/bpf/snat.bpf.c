// SPDX-License-Identifier: GPL-2.0
/*
 * Outgoing connections of this host's sockets with a VIP as source. The port is
 * picked so that what comes back hashes to this DIP on every mux: no mux keeps any
 * state. The socket is bound to VIP and port as it connects: nothing is translated.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "pick.h"

#define AF_INET		2
#define AF_INET6	10
#define SOL_SOCKET	1
#define SO_REUSEADDR	2

/* The network namespace whose sockets are meant; cgroups know no bounds of that kind. */
const volatile __u64 netns;

/* Between the pick of a port and the socket that has it: two CPUs must not pick the same. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SNAT_CLAIMS);
	__type(key, struct snat_claim);
	__type(value, __u64);
} claims SEC(".maps");

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
	__u32 k, port, proto = ctx->protocol;

	if (bpf_get_netns_cookie(ctx) != netns || (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
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

char _license[] SEC("license") = "GPL";
