// SPDX-License-Identifier: GPL-2.0
/*
 * A service that ends closes what it listened on: the agent asks after services
 * at once. Which port it was, a program here may not read. For all hosts, so it
 * is small: no map but the ring, no function of the kernel that modules bring.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "release.h"

/* The network namespace whose sockets are meant; cgroups know no bounds of that kind. */
const volatile __u64 netns;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} closed SEC(".maps");

SEC("cgroup/sock_release")
int duet_release(struct bpf_sock *sk)
{
	struct release_event event = {};

	if (sk->state == BPF_TCP_LISTEN && bpf_get_netns_cookie(sk) == netns)
		bpf_ringbuf_output(&closed, &event, sizeof(event), 0);
	return 1;
}

char _license[] SEC("license") = "GPL";
