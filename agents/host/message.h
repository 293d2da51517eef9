/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the agent and its helper say to each other. The agent faces the network and has no privileges; the helper has
 * them and reads nothing but these messages. They go over a SOCK_SEQPACKET pair: a head, then records of one fixed
 * size. Both ends are one program, so records are structs as the compiler lays them out.
 *
 * The helper trusts no record. Framing (message_check) and values (draft_finish, the handlers) are checked there, against
 * the host's own configuration. A message that breaks the framing ends the helper, and with it the agent: only an
 * agent that somebody has taken over sends one. Traffic goes on, and the service manager starts both again.
 */
#ifndef DUET_HOST_MESSAGE_H
#define DUET_HOST_MESSAGE_H

#include "host.h"

#define MESSAGE_MAX	32768	/* bytes */

enum message {
	/* A state: MSG_BEGIN, lists in any order, MSG_COMMIT. MSG_COMMIT alone is answered, with struct changed. */
	MSG_BEGIN, MSG_MUXES, MSG_RACKS, MSG_PAIRS, MSG_TARGETS, MSG_PORTS, MSG_MATCHES, MSG_RULES, MSG_DIPS, MSG_SNAT,
	MSG_EXCEPTS, MSG_COMMIT,
	/* Health of checks and of targets. Not answered, but for MSG_HEALTH_GET. */
	MSG_DOWN, MSG_HEALTH_SET, MSG_HEALTH_GET,
	/* The fence: answered with nothing, and with what was held. */
	MSG_FENCE, MSG_UNFENCE,
	/* Reads. */
	MSG_STATUS, MSG_SERVED, MSG_METERS, MSG_RACK_NAMES, MSG_MUXES_GET, MSG_HELD, MSG_FORWARDS,
	/* A socket for a probe. */
	MSG_SOCKET,
	__MESSAGES
};

#define MESSAGE_LISTS	(MSG_EXCEPTS + 1)

struct message_head {
	uint32_t type, n;		/* n records follow */
};

/* Rows follow, or, if ret is an error, its sentence. more: another answer follows. */
struct message_answer {
	int32_t ret;
	uint32_t n, more;
};

struct message_begin {
	struct secret keys[DUET_KEYS];
	uint32_t has_racks;
	uint32_t has_ports;		/* there is a check of a port: closed sockets are of interest */
};

struct message_pair {
	struct decap_key key;
	uint16_t delivery, hash_key, fragments;
	uint16_t has_accepts, has_rules;
	uint16_t n_targets, n_ports, n_matches, n_rules, keep;	/* that many of each list are this pair's, in order */
};

struct message_target {
	struct addr address;
	uint16_t weight, down;
};

struct message_port {
	uint16_t proto, port, to;
};

struct message_match {
	uint16_t port, port_last, proto;
};

struct message_rule {
	uint16_t port, port_last, proto, fields, n_dips;
};

struct message_dip {
	struct addr address;
	uint16_t weight, state;
};

struct message_prefix {
	struct addr address;
	uint32_t len;
};

struct message_rack {
	struct message_prefix prefix;
	char name[RACK_NAME];
};

struct message_range {
	struct addr vip;
	uint16_t first, last;
};

struct message_down {
	struct decap_key key;
	struct addr target;
	uint32_t down;
};

struct message_health {
	struct decap_health_key key;
	uint32_t forget;
	struct decap_health health;
};

struct message_socket {
	struct decap_key key;
	struct addr target;		/* behind this host; none: the VIP on lo */
	uint32_t icmp;
};

/* One kind of message: the size of its records; whether it has exactly one of them, or none at all (size 0). */
struct message_kind {
	size_t size;
	bool one;
};

extern const struct message_kind message_kinds[__MESSAGES];

/* message_records - how many of a kind fit into one message */
unsigned int message_records(enum message type);
/* message_check - is it a message? Its type, or -EPROTO; *records points into data */
int message_check(const void *data, size_t len, const void **records, unsigned int *n);

/* A state as it comes in. Zeroed at first. */
struct draft {
	bool open;
	bool too_long;			/* a list is longer than a host can use */
	struct message_begin begin;
	struct {
		void *data;
		unsigned int n, room;
	} lists[MESSAGE_LISTS];
};

/* draft_add - 0; -EPROTO: no state is open; -ENOMEM. What is too long is refused by draft_finish(). */
int draft_add(struct draft *draft, enum message type, const void *records, unsigned int n);
/* draft_finish - the state, every value checked; -errno and a sentence. conf: the host's own prefixes and address. The
 * draft is empty afterwards.
 */
int draft_finish(struct draft *draft, const struct conf *conf, struct desired *d, struct err *e);
void draft_free(struct draft *draft);

#endif
