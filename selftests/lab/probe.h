/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of duet-probe share: its client (probe.c), what the client saw
 * (report.c), load without answers (flood.c), the server of both (echo.c).
 */
#ifndef DUET_LAB_PROBE_H
#define DUET_LAB_PROBE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_LINE	16	/* bytes of a line sent through a long connection, with its newline */
#define PROBE_GREETING	32	/* longest name an echo server greets with, with its newline */
#define PROBE_DISCARD	9	/* UDP port whose datagrams nobody reads */
#define MAX_STREAMS	64
#define MAX_FLOODS	32
#define MS		1000000ull

struct conn {			/* a long TCP connection */
	struct in_addr vip;
	uint16_t port, own_port;
	int fd;
	char server[PROBE_GREETING];	/* greeting so far, complete when greeted */
	unsigned int n_server;
	bool greeted, ended;
	int error;			/* 0: closed by the server in order */
	uint32_t sent, echoed;		/* lines */
	uint32_t partial;		/* bytes of the line coming in */
	uint64_t last, max_gap, max_gap_at, ended_at;
};

struct ping {
	uint64_t sent, came;	/* came 0: no answer (yet) */
};

struct stream {			/* pings to one VIP */
	struct in_addr vip;
	uint16_t port;		/* 0: ICMP echo */
	int fd;
	struct ping *pings;
	uint32_t n, size, answered;
	uint64_t last, max_gap, max_gap_at;
};

struct message {		/* of a ping, and of a flood's datagram */
	uint32_t index, magic;
	uint64_t pad;
};

struct flood;			/* UDP load on one VIP */

struct probe {
	struct conn *conns;
	struct stream streams[MAX_STREAMS];
	struct flood *floods[MAX_FLOODS];
	unsigned int n_conns, n_streams, n_floods;
	unsigned int ping_us, line_us, seconds, turn;
	uint64_t started, stopped;
	bool ready, asked, stopping;
	int epoll, ping_timer, line_timer, flood_timer, signals;
};

/* flood_new - pps datagrams a second to vip:port, from FLOOD_FLOWS source ports in turn */
struct flood *flood_new(struct in_addr vip, uint16_t port, unsigned int pps);
/* flood_send - as many as are due at now */
void flood_send(struct flood *f, uint64_t now);
uint64_t flood_sent(const struct flood *f);

/* report - one line of JSON about the whole run to stdout */
void report(const struct probe *p);
/* trace - every ping as CSV: "kind,vip,sent-s,rtt-ms", rtt-ms empty if it was lost */
void trace(const struct probe *p, const char *path);

/* echo_serve - TCP and UDP echo on a port of all addresses, until killed; every
 * connection is greeted with the name, so that its other end knows its server
 */
int echo_serve(uint16_t port, const char *name);

uint64_t now_ns(void);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
