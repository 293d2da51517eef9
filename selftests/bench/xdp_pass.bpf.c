// SPDX-License-Identifier: GPL-2.0
/*
 * Passes every packet. With it attached, veth hands the stack a buffer of its
 * own, as a network card does; without it, the stack gets pktgen's, which
 * pktgen still holds, and every path would begin by copying it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
