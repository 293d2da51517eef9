/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Client of the kernel's "duet" family (include/uapi/linux/duet.h) on libmnl:
 * everything that talks to the module goes through here.
 */
#ifndef DUET_LIB_DUET_NL_H
#define DUET_LIB_DUET_NL_H

#include "key.h"
#include "vip.h"

struct duet_nl;

/* duet_nl_open - -ENOENT with a sentence if the module is not loaded (asks the
 * kernel to load it first)
 */
int duet_nl_open(struct duet_nl **nl, struct err *e);
void duet_nl_close(struct duet_nl *nl);
/* duet_nl_again - after the module was loaded again: its family and group have other numbers then. The descriptors stay
 * as they are. -ENOENT: it isn't loaded.
 */
int duet_nl_again(struct duet_nl *nl, struct err *e);

struct duet_tables {
	uint32_t vips, rules, members, tunnels, backends;
};

struct duet_port {
	uint32_t ifindex;
	char name[16];
};

/* The flow table of an smux: settings, timeouts in seconds, and what became of it. */
struct duet_flows {
	uint32_t max, rate, timeout_new, timeout_tcp, timeout_fin, timeout_other;
	uint32_t used;
	uint64_t bytes, hits, added, full, limited;
};

struct duet_dev {
	uint32_t ifindex;
	char name[16];
	enum duet_mode mode;
	struct secret keys[DUET_KEYS];	/* none: not set */
	struct addr local4, local6;	/* none if unset */
	uint64_t generation;
	struct duet_tables limits, used;
	struct duet_port *ports;
	unsigned int n_ports;
	struct stats verdicts[__DUET_VERDICT_MAX];
	struct duet_flows flows;	/* smux mode */
	uint32_t keepalive_ms;		/* 0: off */
	uint32_t link, mark;		/* an ifindex; 0: none */
	uint8_t tos;			/* DUET_TOS_INHERIT, or a DSCP in its upper six bits */
	uint8_t spread4;		/* length of local4's prefix of sources, 32: it alone; 0: unknown to the module */
};

/* All return 0 or -errno with the kernel's extack sentence in *e.
 * -ENODEV: no such device; -ENOSPC: a table is full; of a device's functions -ENOENT: the module isn't loaded, or
 * was loaded again, see duet_nl_again().
 */
int duet_nl_dev_get(struct duet_nl *nl, const char *dev, struct duet_dev *out, struct err *e);
void duet_dev_release(struct duet_dev *dev);	/* frees ports */
int duet_nl_dev_dump(struct duet_nl *nl, struct duet_dev **devs, unsigned int *n, struct err *e);

#define DUET_SET_MODE	0x1
#define DUET_SET_KEY	0x2
#define DUET_SET_LOCAL4	0x4
#define DUET_SET_LOCAL6	0x8
#define DUET_SET_LIMITS	0x10
#define DUET_SET_FLOWS	0x20	/* its settings */
#define DUET_SET_KEEPALIVE 0x40
#define DUET_SET_KEY1	0x80
#define DUET_SET_LINK	0x100
#define DUET_SET_MARK	0x200
#define DUET_SET_TOS	0x400
#define DUET_SET_SPREAD	0x800
#define DUET_LIMIT_KEEP	UINT32_MAX	/* in limits and flows: leave this one as it is */
/* duet_nl_dev_set - the members of *dev that `what` names */
int duet_nl_dev_set(struct duet_nl *nl, const char *dev, unsigned int what, const struct duet_dev *values, struct err *e);
/* duet_tos_parse, duet_tos_text - "inherit" or a number; 0 or -EINVAL */
int duet_tos_parse(const char *text, uint8_t *tos);
const char *duet_tos_text(uint8_t tos, char text[8]);
/* duet_nl_dev_add - make a mux; it is down yet. duet_nl_link.c */
int duet_nl_dev_add(const char *dev, enum duet_mode mode, struct err *e);
int duet_nl_port(struct duet_nl *nl, const char *dev, const char *port, bool add, struct err *e);

int duet_nl_vip_set(struct duet_nl *nl, const char *dev, const struct vip *vip, struct err *e);
int duet_nl_vip_del(struct duet_nl *nl, const char *dev, const struct addr *vip, struct err *e);
int duet_nl_vip_flush(struct duet_nl *nl, const char *dev, struct err *e);
/* *out owned by the caller */
int duet_nl_vip_get(struct duet_nl *nl, const char *dev, const struct addr *vip, struct vip **out, struct err *e);
/* duet_nl_vip_dump - all VIPs sorted by address, of one generation (asks again if interrupted) */
int duet_nl_vip_dump(struct duet_nl *nl, const char *dev, struct vip ***vips, unsigned int *n,
		     uint64_t *generation, struct err *e);
int duet_nl_dip_set(struct duet_nl *nl, const char *dev, const struct addr *vip /* or NULL */,
		    const struct addr *dip, enum duet_dip_state state, struct err *e);

/* A batch: many changes in few system calls. Each ends with its own result. */
struct duet_op {
	enum { DUET_OP_VIP_SET, DUET_OP_VIP_DEL, DUET_OP_DIP_SET } op;
	const struct vip *vip;		/* VIP_SET */
	struct addr addr;		/* VIP_DEL, DIP_SET: the VIP */
	struct addr dip;		/* DIP_SET */
	enum duet_dip_state state;	/* DIP_SET */
	int result;			/* out: 0 or -errno */
	char why[160];			/* out: extack sentence */
};
/* returns 0 if every op was answered (look at each result), -errno if not: then
 * some of the first may be done, none of the last is
 */
int duet_nl_batch(struct duet_nl *nl, const char *dev, struct duet_op *ops, unsigned int n, struct err *e);

struct duet_flow {
	struct addr src, dst;
	uint8_t proto;
	uint16_t sport, dport;
};
struct duet_trace {
	struct vip *vip;	/* the rule and DIP that take it; NULL: not ours. Owned by the caller */
	uint32_t hash, bucket;
	bool kept;		/* by the flow table: no hash, no bucket */
	enum duet_verdict verdict;
};
int duet_nl_trace(struct duet_nl *nl, const char *dev, const struct duet_flow *flow, struct duet_trace *out, struct err *e);

/* A flow that an smux keeps on its DIP. */
struct duet_kept {
	struct duet_flow flow;
	struct addr dip;
	enum duet_flow_state state;
	uint32_t idle;		/* seconds */
	bool kept;		/* no longer on probation */
};
/* duet_nl_flows - calls back for each flow of vip and dip (NULL: any); one that
 * moves meanwhile may be missed or told twice
 */
int duet_nl_flows(struct duet_nl *nl, const char *dev, const struct addr *vip, const struct addr *dip,
		  void (*flow)(const struct duet_kept *kept, void *ctx), void *ctx, struct err *e);
int duet_nl_flow_flush(struct duet_nl *nl, const char *dev, const struct addr *vip,
		       const struct addr *dip, struct err *e);

/* Events: an fd for the loop, joined to group "events" on first use; each call
 * reads what is there and calls back. -ENOBUFS: events were lost, dump again.
 */
struct duet_event {
	enum duet_cmd cmd;	/* DUET_CMD_*_NTF */
	uint32_t ifindex;
	char dev[16];		/* DEV_NTF only */
	uint64_t generation;
	bool deleted;
	bool own;		/* what the same struct duet_nl asked for */
	struct vip *vip;	/* VIP_NTF; borrowed */
	struct addr vip_addr;	/* DIP_NTF, may be none; FULL_NTF */
	struct addr dip;	/* DIP_NTF */
	enum duet_dip_state state;
	uint32_t table;		/* FULL_NTF: enum duet_table_attr, 0: the flow table */
};
int duet_nl_events_fd(struct duet_nl *nl, struct err *e);
int duet_nl_events_read(struct duet_nl *nl, void (*event)(const struct duet_event *ev, void *ctx), void *ctx);

#endif
