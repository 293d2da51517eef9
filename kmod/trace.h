/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of a mux, in /sys/kernel/tracing/events/duet: what was done with
 * each packet of a VIP. Off, they cost the packet one no-operation.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM duet

#if !defined(DUET_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DUET_TRACE_H

#include <linux/duet.h>
#include <linux/in6.h>
#include <linux/netdevice.h>
#include <linux/tracepoint.h>

/* as `duet stats` has them */
#define DUET_VERDICT_NAMES					\
	{ DUET_VERDICT_PASS,		"pass" },		\
	{ DUET_VERDICT_ENCAP,		"encap" },		\
	{ DUET_VERDICT_DROP_HEADER,	"header" },		\
	{ DUET_VERDICT_DROP_NO_RULE,	"no-rule" },		\
	{ DUET_VERDICT_DROP_NO_DIP,	"no-dip" },		\
	{ DUET_VERDICT_DROP_FRAGMENT,	"fragment" },		\
	{ DUET_VERDICT_DROP_TTL,	"ttl" },		\
	{ DUET_VERDICT_DROP_TOO_BIG,	"too-big" },		\
	{ DUET_VERDICT_DROP_NO_ROUTE,	"no-route" },		\
	{ DUET_VERDICT_DROP_NO_LOCAL,	"no-local" },		\
	{ DUET_VERDICT_DROP_MEMORY,	"memory" },		\
	{ DUET_VERDICT_DROP_LOOP,	"loop" },		\
	{ DUET_VERDICT_DROP_NO_TUNNEL,	"no-tunnel" },		\
	{ DUET_VERDICT_OUTER_ERROR,	"outer-error" },	\
	{ DUET_VERDICT_DROP_MARTIAN,	"martian" }

/* vip, dip: IPv4 addresses mapped; dip NULL: none was chosen */
TRACE_EVENT(duet_packet,
	TP_PROTO(const struct net_device *dev, enum duet_verdict verdict,
		 const struct in6_addr *vip, const struct in6_addr *dip,
		 unsigned int len),

	TP_ARGS(dev, verdict, vip, dip, len),

	TP_STRUCT__entry(
		__field(int, ifindex)
		__field(unsigned int, verdict)
		__field(unsigned int, len)
		__array(u8, vip, 16)
		__array(u8, dip, 16)
		__array(char, name, IFNAMSIZ)
	),

	TP_fast_assign(
		__entry->ifindex = dev->ifindex;
		__entry->verdict = verdict;
		__entry->len = len;
		memcpy(__entry->vip, vip, 16);
		if (dip)
			memcpy(__entry->dip, dip, 16);
		else
			memset(__entry->dip, 0, 16);
		memcpy(__entry->name, dev->name, IFNAMSIZ);
	),

	TP_printk("dev=%s ifindex=%d verdict=%s vip=%pI6c dip=%pI6c len=%u",
		  __entry->name, __entry->ifindex,
		  __print_symbolic(__entry->verdict, DUET_VERDICT_NAMES),
		  __entry->vip, __entry->dip, __entry->len)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
