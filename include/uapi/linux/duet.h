/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Generic netlink family "duet": the contract between duet.ko and everybody
 * who configures it, and its manual. docs/netlink/duet.yaml says the same in
 * the form of the kernel's netlink specifications.
 *
 * Life of a device, its addresses and routes belong to rtnetlink:
 *
 *	ip link add hmux0 type duet
 *	ip link set hmux0 up
 *
 * RTM_NEWLINK takes IFLA_DUET_MODE in IFLA_INFO_DATA, and RTM_GETLINK gives the
 * attributes of enum duet_link_attr there. An ip(8) that doesn't know the kind
 * shows the kind alone; `duet dev add` and `duet dev show` speak for it.
 *
 * A device starts in hmux mode with the paper's limits, no ports, no VIPs, and
 * is of one network namespace: every name and address below is looked up there.
 * Every command, and joining the group "events", needs CAP_NET_ADMIN in the user
 * namespace that owns it: who has not gets EPERM, the one error without a sentence.
 *
 * A device is named by DUET_A_IFINDEX or DUET_A_IFNAME. Integers are in host byte order
 * but for addresses, which are 4 (IPv4) or 16 (IPv6) bytes in network order.
 * Requests are strictly checked: an attribute that a command does not know is
 * an error. Every refusal carries an extack sentence and changes nothing.
 * Every change bumps the device's generation, and a change that is asked for
 * again changes nothing and doesn't bump it. Many requests may be put in one
 * buffer, with NLM_F_ACK only where an answer is wanted: errors always come.
 *
 * Commands (all attributes at top level are of enum duet_attr)
 *
 * DUET_CMD_DEV_GET	do, dump
 *	request: device (dump: none)
 *	reply:	 IFINDEX, IFNAME, MODE, KEY, KEY1, LOCAL4, LOCAL6 (if set),
 *		 GENERATION, LIMITS, USED, PORTS, STATS, KEEPALIVE, FLOWS
 *		 (smux mode), LINK, MARK, TOS, SPREAD4
 *
 * DUET_CMD_DEV_SET	do
 *	request: device and any of MODE, KEY, KEY1, LOCAL4, LOCAL6, LIMITS, FLOWS,
 *		 KEEPALIVE, LINK, MARK, TOS, SPREAD4 (members left out stay as
 *		 they are).
 *	LINK that is deleted stays set: the DIPs have no route then. All addresses
 *	of SPREAD4's prefix are the mux's own like LOCAL4, and refused like it.
 *	MODE can be changed only while the device has no VIP, KEY and KEY1 only
 *	while no VIP uses them (DUET_A_VIP_KEY). All muxes and hosts of a
 *	deployment choose alike only under equal keys; zeros: not set. LIMITS
 *	below what is in use are refused. Muxes of a network namespace whose user
 *	namespace isn't the initial one are bounded in number and memory
 *	(duet/limits.h): what needs more is refused with ENOSPC.
 *	MODE loads that mode's preset limits
 *	unless LIMITS are there too. EADDRINUSE refuses a LOCAL4 or LOCAL6 that is
 *	a VIP or a DIP of any mux of the namespace. FLOWS needs smux mode; another
 *	FLOWS_SIZE makes an empty table. A device with a KEEPALIVE that isn't set again within that
 *	time goes down, and with it every route into it.
 *
 * DUET_CMD_PORT_ADD, DUET_CMD_PORT_DEL	do
 *	request: device, PORT_IFINDEX
 *	Packets that arrive on a port and are for a VIP are taken before routing.
 *	A netdev is a port of at most one device. A member of a bridge, bond or
 *	team is none, and a port can't become one: the device above it is the port.
 *	A macvlan on top of a port is a port of its own; a warning says so.
 *
 * DUET_CMD_VIP_SET	do
 *	request: device, VIP (nest of enum duet_vip_attr: ADDR, RULES, KIND,
 *		 FRAGMENTS, OVERSIZE, ALL_DOWN, KEY)
 *	Creates the VIP, or replaces all its rules in one step: a packet meets
 *	the old VIP or the new one. EADDRINUSE refuses a new VIP that is an
 *	address of this machine, and a VIP or DIP that is the broadcast (IPv6: the
 *	routers' anycast) address of one of its subnets or the source of the
 *	tunnels of any mux of the namespace. An address of lo with host scope
 *	(IPv6: deprecated) may be a VIP: a server answers by it. An address that
 *	is added when the VIP is there already is warned of in the kernel's log.
 *
 * DUET_CMD_VIP_DEL	do
 *	request: device, VIP (ADDR); or device and FLUSH for all of them.
 *
 * DUET_CMD_VIP_GET	do, dump
 *	request: device, VIP (ADDR; dump: device, no VIP)
 *	reply:	 IFINDEX, GENERATION, VIP: as it was set, with STATS, and RULES
 *		 each with DIGEST and BUCKETS, and DIPS each with STATE, BUCKETS
 *		 and STATS.
 *	A dump that a change ran into is marked NLM_F_DUMP_INTR: ask again.
 *
 * DUET_CMD_DIP_SET	do
 *	request: device, DIP (ADDR, STATE), optionally VIP (ADDR): the state of
 *		 this DIP in all VIPs of the device, or in that one.
 *	-ENOENT if no such VIP has it. Only flows of this DIP move; DUET_DIP_UP
 *	restores the table as it was.
 *
 * DUET_CMD_TRACE	do
 *	request: device, FLOW
 *	reply:	 VIP (ADDR, RULES: the one rule that matched, with its
 *		 one DIP), HASH, BUCKET, VERDICT
 *	What the data path would do with this packet now, by the data path's own
 *	functions. Without HASH and BUCKET: the flow table decided. A VERDICT with no VIP: not ours, passes.
 *
 * DUET_CMD_FLOW_GET	dump
 *	request: device, optionally VIP (ADDR) and DIP (ADDR): only their flows
 *	reply:	 IFINDEX, FLOW, DIP (ADDR). Flows come and go during a dump, and the
 *		 device may, too: -ENODEV.
 *
 * DUET_CMD_FLOW_FLUSH	do
 *	request: as FLOW_GET. Forgets these flows: their next packets are new.
 *
 * Multicast group "events": DUET_CMD_DEV_NTF (a device was made, changed or
 * deleted: IFINDEX, IFNAME, GENERATION, DELETED on deletion), DUET_CMD_VIP_NTF
 * (IFINDEX, GENERATION, VIP as VIP_GET gives it without STATS; DELETED),
 * DUET_CMD_DIP_NTF (IFINDEX, GENERATION, VIP ADDR if only one, DIP ADDR, STATE),
 * DUET_CMD_FULL_NTF (a VIP was refused: IFINDEX, GENERATION, TABLE, VIP ADDR; or
 * the flow table begins to lack room: IFINDEX, FLOWS with SIZE and FULL). Who
 * missed events reads ENOBUFS and dumps again. NLM_F_ECHO gives the asker the
 * event of his change, and also when nothing was to be changed.
 */
#ifndef _UAPI_LINUX_DUET_H
#define _UAPI_LINUX_DUET_H

#define DUET_GENL_NAME		"duet"
#define DUET_GENL_VERSION	1
#define DUET_GENL_MCGRP_EVENTS	"events"

enum duet_cmd {
	DUET_CMD_DEV_GET = 1,
	DUET_CMD_DEV_SET,
	DUET_CMD_PORT_ADD,
	DUET_CMD_PORT_DEL,
	DUET_CMD_VIP_SET,
	DUET_CMD_VIP_DEL,
	DUET_CMD_VIP_GET,
	DUET_CMD_DIP_SET,
	DUET_CMD_TRACE,
	DUET_CMD_FLOW_GET,
	DUET_CMD_FLOW_FLUSH,
	DUET_CMD_DEV_NTF,
	DUET_CMD_VIP_NTF,
	DUET_CMD_DIP_NTF,
	DUET_CMD_FULL_NTF,

	__DUET_CMD_MAX,
	DUET_CMD_MAX = __DUET_CMD_MAX - 1
};

enum duet_mode {
	DUET_MODE_HMUX,		/* stateless, tables bounded like a switch chip's */
	DUET_MODE_SMUX,		/* unbounded tables, and a flow table */
};

/* rtnetlink, in IFLA_INFO_DATA of a link of kind "duet" */
enum duet_link_attr {
	IFLA_DUET_MODE = 1,	/* u32, enum duet_mode; absent: hmux */
	IFLA_DUET_LOCAL4,	/* 4 bytes (reply, if set) */
	IFLA_DUET_LOCAL6,	/* 16 bytes (reply, if set) */
	IFLA_DUET_PORTS,	/* u32, how many (reply) */
	IFLA_DUET_VIPS,		/* u32, how many (reply) */
	IFLA_DUET_LINK,		/* as DUET_A_LINK (reply, if set) */
	IFLA_DUET_MARK,		/* as DUET_A_MARK (reply, if set) */
	IFLA_DUET_TOS,		/* as DUET_A_TOS (reply) */
	IFLA_DUET_SPREAD4,	/* as DUET_A_SPREAD4 (reply) */

	__IFLA_DUET_MAX,
	IFLA_DUET_MAX = __IFLA_DUET_MAX - 1
};

#define DUET_TOS_INHERIT	1	/* the inner packet's, as ip(8) has it */

enum duet_vip_kind {
	DUET_KIND_VIP,
	DUET_KIND_TIP,		/* packets arrive in a tunnel from another mux:
				 * outer header off, choose by the inner flow
				 * with the second level's key, encapsulate
				 */
};

enum duet_fragments {		/* what a VIP does with fragments */
	DUET_FRAGMENTS_DROP,
	DUET_FRAGMENTS_HASH,	/* all of a datagram by addresses and protocol,
				 * to the DIPs of the rule without a port
				 */
};

enum duet_oversize {		/* too big with the outer header, and no DF */
	DUET_OVERSIZE_FRAGMENT,	/* the outer packet is fragmented */
	DUET_OVERSIZE_REFUSE,	/* answered "too big" as if it had DF */
};

enum duet_all_down {		/* no DIP of a set is up */
	DUET_ALL_DOWN_DROP,
	DUET_ALL_DOWN_REJECT,	/* ICMP host / address unreachable to the client */
	DUET_ALL_DOWN_PASS,	/* left to the routing table */
};

enum duet_dip_state {
	DUET_DIP_UP,
	DUET_DIP_DOWN,		/* its buckets go to the others at once */
	DUET_DIP_DRAIN,		/* the same for new flows; those in the flow
				 * table stay. Only in smux mode
				 */
};

enum duet_fields {		/* what a rule hashes, see duet/hash.h */
	DUET_FIELDS_5TUPLE,
	DUET_FIELDS_SRC_PORT,
	DUET_FIELDS_SRC,
};

/* What became of a packet, and the index of the device's counters of packets
 * that came in and were for a VIP (all but PASS) or not (PASS).
 */
enum duet_verdict {
	DUET_VERDICT_PASS,		/* of no VIP: left alone */
	DUET_VERDICT_ENCAP,		/* encapsulated and sent */
	DUET_VERDICT_DROP_HEADER,	/* malformed or cut short */
	DUET_VERDICT_DROP_NO_RULE,	/* of a VIP, but no rule takes it */
	DUET_VERDICT_DROP_NO_DIP,	/* every DIP of its set is down */
	DUET_VERDICT_DROP_FRAGMENT,	/* a fragment */
	DUET_VERDICT_DROP_TTL,		/* TTL ran out */
	DUET_VERDICT_DROP_TOO_BIG,	/* DF, and too big with the outer header */
	DUET_VERDICT_DROP_NO_ROUTE,	/* no route to the DIP, or back into us */
	DUET_VERDICT_DROP_NO_LOCAL,	/* the device has no local address */
	DUET_VERDICT_DROP_MEMORY,
	DUET_VERDICT_DROP_LOOP,		/* came out of this mux before */
	DUET_VERDICT_DROP_NO_TUNNEL,	/* to a TIP, but not IP-in-IP */
	DUET_VERDICT_OUTER_ERROR,	/* an ICMP error about an outer header of
					 * ours, told to the client
					 */
	DUET_VERDICT_DROP_MARTIAN,	/* from a source that no client can have:
					 * 0/8, 127/8, 224/3, ::, ::1, IPv4 in
					 * IPv6, fe80::/10, ff00::/8, the VIP
					 * itself; and, on a port, the device's
					 * local address
					 */

	__DUET_VERDICT_MAX,
	DUET_VERDICT_MAX = __DUET_VERDICT_MAX - 1
};

enum duet_attr {
	DUET_A_IFINDEX = 1,	/* u32 */
	DUET_A_IFNAME,		/* string */
	DUET_A_MODE,		/* u32, enum duet_mode */
	DUET_A_KEY,		/* 16 bytes, key 0 of the deployment's hash */
	DUET_A_LOCAL4,		/* 4 bytes, source of IPv4 outer headers */
	DUET_A_LOCAL6,		/* 16 bytes, source of IPv6 outer headers */
	DUET_A_GENERATION,	/* u64, of the device's configuration */
	DUET_A_LIMITS,		/* nest, enum duet_table_attr */
	DUET_A_USED,		/* nest, enum duet_table_attr */
	DUET_A_PORTS,		/* array of nests, enum duet_port_attr */
	DUET_A_PORT_IFINDEX,	/* u32 */
	DUET_A_STATS,		/* nest, enum duet_dev_stats_attr */
	DUET_A_VIP,		/* nest, enum duet_vip_attr */
	DUET_A_DIP,		/* nest, enum duet_dip_attr */
	DUET_A_FLUSH,		/* flag */
	DUET_A_DELETED,		/* flag */
	DUET_A_FLOW,		/* nest, enum duet_flow_attr */
	DUET_A_HASH,		/* u32 */
	DUET_A_BUCKET,		/* u32 */
	DUET_A_VERDICT,		/* u32, enum duet_verdict */
	DUET_A_FLOWS,		/* nest, enum duet_flows_attr */
	DUET_A_PAD,
	DUET_A_TABLE,		/* u32, enum duet_table_attr */
	DUET_A_KEEPALIVE,	/* u32, ms; 0: off */
	DUET_A_KEY1,		/* 16 bytes, key 1 */
	DUET_A_LINK,		/* u32, ifindex that routes to DIPs are looked up by: a
				 * VRF, or a netdev that outer packets leave by; 0: none
				 */
	DUET_A_MARK,		/* u32, fwmark of lookups and of outer packets; 0: none,
				 * and outer packets keep the one of the inner packet
				 */
	DUET_A_TOS,		/* u8, DSCP of outer headers in its upper six bits, the
				 * others 0; or DUET_TOS_INHERIT. ECN is always copied
				 */
	DUET_A_SPREAD4,		/* u8, 16 to 32: outer IPv4 sources are all of the
				 * addresses of LOCAL4's prefix of this length, one for
				 * each flow; 32: LOCAL4 alone
				 */

	__DUET_A_MAX,
	DUET_A_MAX = __DUET_A_MAX - 1
};

/* Table sizes. In LIMITS 0 means unbounded. */
enum duet_table_attr {
	DUET_A_TABLE_VIPS = 1,	/* u32, host table: VIPs */
	DUET_A_TABLE_RULES,	/* u32, ACL table: rules with a protocol or port */
	DUET_A_TABLE_MEMBERS,	/* u32, ECMP table: DIPs of all sets */
	DUET_A_TABLE_TUNNELS,	/* u32, tunnelling table: distinct DIP addresses */
	DUET_A_TABLE_BACKENDS,	/* u32, pairs of a rule and a DIP with counters of
				 * their own. Where there is no room for a rule's, it
				 * isn't refused but shares counters: RULE_SHARED
				 */

	__DUET_A_TABLE_MAX,
	DUET_A_TABLE_MAX = __DUET_A_TABLE_MAX - 1
};

/* The flow table (smux mode). TIMEOUTs in seconds without a packet. */
enum duet_flows_attr {
	DUET_A_FLOWS_SIZE = 1,	/* u32, entries, rounded up; 0: no table */
	DUET_A_FLOWS_RATE,	/* u32, new entries a second and CPU; 0: any */
	DUET_A_FLOWS_TIMEOUT_NEW,	/* u32, one packet seen */
	DUET_A_FLOWS_TIMEOUT_TCP,	/* u32, TCP, more than one */
	DUET_A_FLOWS_TIMEOUT_FIN,	/* u32, after FIN or RST: from then on a SYN
					 * is of a new flow, and others may have
					 * the entry. If nobody wants it, a flow
					 * that was kept stays for TCP or OTHER
					 */
	DUET_A_FLOWS_TIMEOUT_OTHER,	/* u32, all but TCP, more than one */
	DUET_A_FLOWS_USED,	/* u32, entries that are not idle (reply) */
	DUET_A_FLOWS_BYTES,	/* u64, memory (reply) */
	DUET_A_FLOWS_HITS,	/* u64, packets that met their entry (reply) */
	DUET_A_FLOWS_ADDED,	/* u64, entries made (reply) */
	DUET_A_FLOWS_FULL,	/* u64, flows for which no entry was free: one that
				 * was alive made way, or the packet was sent by
				 * the set's table alone (reply)
				 */
	DUET_A_FLOWS_LIMITED,	/* u64, packets sent by the set's table alone because
				 * of RATE (reply)
				 */
	DUET_A_FLOWS_PAD,

	__DUET_A_FLOWS_MAX,
	DUET_A_FLOWS_MAX = __DUET_A_FLOWS_MAX - 1
};

enum duet_port_attr {
	DUET_A_PORT_INDEX = 1,	/* u32, ifindex */
	DUET_A_PORT_NAME,	/* string */

	__DUET_A_PORT_MAX,
	DUET_A_PORT_MAX = __DUET_A_PORT_MAX - 1
};

enum duet_dev_stats_attr {
	DUET_A_DEV_STATS_VERDICTS = 1,	/* array: nest type n = verdict n - 1,
					 * enum duet_stats_attr inside
					 */

	__DUET_A_DEV_STATS_MAX,
	DUET_A_DEV_STATS_MAX = __DUET_A_DEV_STATS_MAX - 1
};

enum duet_stats_attr {
	DUET_A_STATS_PACKETS = 1,	/* u64 */
	DUET_A_STATS_BYTES,		/* u64, of the inner packets */
	DUET_A_STATS_PAD,

	__DUET_A_STATS_MAX,
	DUET_A_STATS_MAX = __DUET_A_STATS_MAX - 1
};

enum duet_vip_attr {
	DUET_A_VIP_ADDR = 1,	/* 4 or 16 bytes */
	DUET_A_VIP_RULES,	/* array of nests, enum duet_rule_attr */
	DUET_A_VIP_STATS,	/* nest, enum duet_stats_attr: packets encapsulated */
	DUET_A_VIP_KIND,	/* u32, enum duet_vip_kind; absent: VIP */
	DUET_A_VIP_FRAGMENTS,	/* u32, enum duet_fragments; absent: drop */
	DUET_A_VIP_OVERSIZE,	/* u32, enum duet_oversize; absent: fragment */
	DUET_A_VIP_ALL_DOWN,	/* u32, enum duet_all_down; absent: drop */
	DUET_A_VIP_PAD,
	DUET_A_VIP_KEY,		/* u32, 0 or 1: chooses by KEY or by KEY1; absent: 0 */

	__DUET_A_VIP_MAX,
	DUET_A_VIP_MAX = __DUET_A_VIP_MAX - 1
};

/* A packet belongs to the rule with its protocol whose port range holds its
 * destination port; else to the one with its protocol and no port; else to the
 * one with neither (the VIP's default, which also takes ICMP echo and every
 * protocol without ports). Ranges of one protocol must not overlap.
 */
enum duet_rule_attr {
	DUET_A_RULE_PROTO = 1,	/* u8, IP protocol; absent: any */
	DUET_A_RULE_PORT,	/* u16, first port; absent: any */
	DUET_A_RULE_PORT_LAST,	/* u16; absent: PORT */
	DUET_A_RULE_FIELDS,	/* u32, enum duet_fields; absent: 5-tuple */
	DUET_A_RULE_DIPS,	/* array of nests, enum duet_dip_attr */
	DUET_A_RULE_BUCKETS,	/* u32, size of the table (reply) */
	DUET_A_RULE_DIGEST,	/* u64, duet_table_digest(); 0: all down (reply) */
	DUET_A_RULE_PAD,
	DUET_A_RULE_SHARED,	/* flag: STATS of the DIPs are of all rules that share
				 * this set's, for want of room for its own (reply)
				 */

	__DUET_A_RULE_MAX,
	DUET_A_RULE_MAX = __DUET_A_RULE_MAX - 1
};

enum duet_dip_attr {
	DUET_A_DIP_ADDR = 1,	/* 4 or 16 bytes, outer destination */
	DUET_A_DIP_WEIGHT,	/* u16; absent: 1; 0: provisioned, not in the table */
	DUET_A_DIP_STATE,	/* u32, enum duet_dip_state; absent: up */
	DUET_A_DIP_BUCKETS,	/* u32, buckets it has now (reply) */
	DUET_A_DIP_STATS,	/* nest, enum duet_stats_attr (reply) */
	DUET_A_DIP_PAD,

	__DUET_A_DIP_MAX,
	DUET_A_DIP_MAX = __DUET_A_DIP_MAX - 1
};

enum duet_flow_state {
	DUET_FLOW_NEW,		/* one packet seen, or SYNs only */
	DUET_FLOW_OPEN,		/* more */
	DUET_FLOW_CLOSING,	/* FIN or RST from the client; a later packet opens it */
};

enum duet_flow_attr {
	DUET_A_FLOW_SRC = 1,	/* 4 or 16 bytes */
	DUET_A_FLOW_DST,	/* the same family */
	DUET_A_FLOW_PROTO,	/* u8 */
	DUET_A_FLOW_SPORT,	/* u16; ICMP echo: the identifier */
	DUET_A_FLOW_DPORT,	/* u16 */
	DUET_A_FLOW_STATE,	/* u8, enum duet_flow_state (reply) */
	DUET_A_FLOW_IDLE,	/* u32, seconds since the last packet (reply) */
	DUET_A_FLOW_KEPT,	/* flag: a packet came some time after the first. Flows
				 * without are on probation: where there is no
				 * room, the one of them that is silent for longest
				 * makes way for a new one (reply)
				 */

	__DUET_A_FLOW_MAX,
	DUET_A_FLOW_MAX = __DUET_A_FLOW_MAX - 1
};

#endif
