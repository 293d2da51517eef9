/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Every limit of Duet, named. Compiled into the module, the BPF programs, the
 * agents, the controller and the tests; nobody else writes these numbers.
 */
#ifndef _DUET_LIMITS_H
#define _DUET_LIMITS_H

/* The paper's switch (SIGCOMM 2014, sections 3 and 8.1): the preset of a
 * device in hmux mode. Each is settable per device; 0 means unbounded, the
 * preset of smux mode.
 */
#define DUET_PAPER_VIPS		16384	/* host table: /32s			*/
#define DUET_PAPER_RULES	1024	/* ACL table: (VIP, protocol, port)	*/
#define DUET_PAPER_MEMBERS	4096	/* ECMP table: DIPs of all sets		*/
#define DUET_PAPER_TUNNELS	512	/* tunnelling table: distinct DIPs	*/

/* Backends: pairs of a VIP's rule and a DIP that have counters of their own; 0: any
 * number. Rules beyond share one line of them for each set, so that a set of
 * many DIPs costs nothing for each further VIP. The preset of each mode.
 */
#define DUET_BACKENDS_HMUX	65536
#define DUET_BACKENDS_SMUX	524288

/* Muxes of a network namespace whose user namespace isn't the initial one, which
 * an ordinary user makes: their number, and the memory of all they hold. That
 * of all such namespaces together is bounded as well.
 */
#define DUET_GUEST_DEVICES	16
#define DUET_GUEST_PORTS	64	/* of one of them			*/
#define DUET_GUEST_MIB		32
#define DUET_GUESTS_MIB		256

/* A netlink attribute holds 64 KiB, and a VIP with all its DIPs and their
 * counters must fit in one. Larger services take a TIP (paper, section 5).
 */
#define DUET_SET_DIPS_MAX	512	/* DIPs in one set			*/
#define DUET_VIP_DIPS_MAX	704	/* DIPs in all sets of one VIP		*/
#define DUET_VIP_RULES_MAX	64	/* rules of one VIP			*/
#define DUET_KEYS		2	/* keys of the hash: one used, one to come	*/
#define DUET_WEIGHT_MAX		65535
#define DUET_PORTS_MAX		512	/* ports attached to one device		*/

/* A set of n DIPs gets the smallest prime of duet_table_primes[] that is at
 * least DUET_BUCKETS_PER_DIP * n buckets: shares are then within about 1 %.
 */
#define DUET_BUCKETS_PER_DIP	100
#define DUET_BUCKETS_MAX	65521

/* The flow table of a device in smux mode; both are settable. 72 bytes a flow. */
#define DUET_FLOWS_DEFAULT	131072	/* entries				*/
#define DUET_FLOWS_MAX		16777216
#define DUET_FLOW_RATE_DEFAULT	100000	/* new entries a second and CPU		*/
#define DUET_FLOW_TIMEOUT_MAX	86400	/* seconds				*/

/* REST servers of the daemons. A connection that waits for its first or next
 * request, sends one or takes its answer has so long; the answer may take as
 * long as its making needs.
 */
#define DUET_HTTP_CONNECTIONS	512	/* above, the longest idle one is cut	*/
#define DUET_HTTP_SPARE		64	/* that may be open while it is being cut */
#define DUET_HTTP_FIRST_S	10	/* handshake and first request		*/
#define DUET_HTTP_IDLE_S	60	/* between requests			*/
#define DUET_HTTP_REQUEST_S	60	/* an answer				*/
#define DUET_HTTP_BODY_S	10	/* a request's body, and the time that its bytes take at: */
#define DUET_HTTP_RATE		4096	/* bytes a second, the least rate of a body */
#define DUET_HTTP_BODY_DEFAULT	(64u << 10)	/* bytes of one body, if its route names no limit */
#define DUET_HTTP_BODY_MAX	(64u << 20)	/* of a state, a configuration, an answer */
#define DUET_HTTP_BYTES_A_VALUE	4	/* of that limit, for each JSON value */
#define DUET_HTTP_PEER_CONNECTIONS 64	/* of one certificate		*/
#define DUET_HTTP_PEER_STREAMS	16	/* of one certificate			*/
#define DUET_HTTP_BODIES_MAX	(160u << 20)	/* all bodies being read; the controller: more */

/* of the agent's keepalive, if it is on, milliseconds */
#define DUET_SPREAD4_MIN	16	/* shortest prefix of outer sources */
#define DUET_KEEPALIVE_MIN	100
#define DUET_KEEPALIVE_MAX	600000

#define DUET_OUTER_TTL		64	/* TTL of the outer header		*/

#endif
