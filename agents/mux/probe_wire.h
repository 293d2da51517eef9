/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packets of probes: a TCP SYN or an ICMP echo request to a VIP, inside a tunnel to one DIP, as traffic of that VIP
 * travels; or an echo request to the DIP itself. Answers return straight to this mux. IPv4 only.
 */
#ifndef DUET_MUX_PROBE_WIRE_H
#define DUET_MUX_PROBE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.h"

/* Source ports of probes, above those that Linux gives to programs. Whoever meters or filters can leave them out. */
#define PROBE_PORTS	512
#define PROBE_PORT_MIN	61440

struct probe_wire {
	int send, tcp, icmp;		/* raw sockets; -1: not open */
	uint32_t local;			/* source of tunnels, and where answers return; network order, as all below */
	uint8_t tos;
};

/* struct probe_flow - one probe as packets show it */
struct probe_flow {
	uint32_t dip, vip;		/* vip 0: no tunnel, the echo request goes to the DIP */
	uint16_t sport, dport, seq;	/* host order; an echo request has sport as its identifier, and seq */
	uint32_t tcp_seq;		/* host order */
	bool tcp;
};

enum probe_answer { PROBE_NOTHING, PROBE_SYN_ACK, PROBE_RST, PROBE_ECHO, PROBE_UNREACHABLE };

/* struct probe_heard - what an answer says of the probe that it belongs to */
struct probe_heard {
	enum probe_answer answer;
	uint32_t from;			/* who answers; PROBE_UNREACHABLE: where the packet was to go */
	uint16_t sport;			/* port or identifier of ours; 0: the packet doesn't show it */
	uint16_t dport;
	uint32_t ack;
};

/* probe_wire_open - needs CAP_NET_RAW, which is not needed afterwards; 0 or -errno, nothing is open then */
int probe_wire_open(struct probe_wire *w, const struct config *config, struct err *e);
void probe_wire_close(struct probe_wire *w);
/* probe_wire_send - 0 or -errno of sendto(): -ENETUNREACH, -EHOSTUNREACH: no route */
int probe_wire_send(const struct probe_wire *w, const struct probe_flow *f);
/* probe_wire_reset - end the connection that a SYN-ACK of this number has half opened */
void probe_wire_reset(const struct probe_wire *w, const struct probe_flow *f);
/* probe_wire_read - the next answer of one of the two sockets; false: there is none now */
bool probe_wire_read(int fd, struct probe_heard *heard);
/* probe_wire_parse - the same of a packet, from its IP header on; false: it answers no probe */
bool probe_wire_parse(const uint8_t *packet, unsigned int len, struct probe_heard *heard);

#endif
