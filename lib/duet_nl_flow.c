// SPDX-License-Identifier: GPL-2.0
/*
 * The flow table of an smux: its settings, and the flows in it.
 */
#include "duet_nl_priv.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <string.h>

void nl_get_flows(const struct nlattr *nest, struct duet_flows *f)
{
	uint32_t *small[] = {
		[DUET_A_FLOWS_SIZE] = &f->max, [DUET_A_FLOWS_RATE] = &f->rate,
		[DUET_A_FLOWS_TIMEOUT_NEW] = &f->timeout_new,
		[DUET_A_FLOWS_TIMEOUT_TCP] = &f->timeout_tcp,
		[DUET_A_FLOWS_TIMEOUT_FIN] = &f->timeout_fin,
		[DUET_A_FLOWS_TIMEOUT_OTHER] = &f->timeout_other,
		[DUET_A_FLOWS_USED] = &f->used, [DUET_A_FLOWS_PAD] = NULL,
	};
	uint64_t *large[] = {
		[DUET_A_FLOWS_BYTES] = &f->bytes, [DUET_A_FLOWS_HITS] = &f->hits,
		[DUET_A_FLOWS_ADDED] = &f->added, [DUET_A_FLOWS_FULL] = &f->full,
		[DUET_A_FLOWS_LIMITED] = &f->limited, [DUET_A_FLOWS_PAD] = NULL,
	};
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		unsigned int type = mnl_attr_get_type(attr);

		if (type <= DUET_A_FLOWS_PAD && small[type])
			*small[type] = mnl_attr_get_u32(attr);
		else if (type <= DUET_A_FLOWS_PAD && large[type])
			*large[type] = mnl_attr_get_u64(attr);
	}
}

void nl_put_flows(struct nlmsghdr *nlh, const struct duet_flows *f)
{
	const uint32_t value[] = {
		[DUET_A_FLOWS_SIZE] = f->max, [DUET_A_FLOWS_RATE] = f->rate,
		[DUET_A_FLOWS_TIMEOUT_NEW] = f->timeout_new,
		[DUET_A_FLOWS_TIMEOUT_TCP] = f->timeout_tcp,
		[DUET_A_FLOWS_TIMEOUT_FIN] = f->timeout_fin,
		[DUET_A_FLOWS_TIMEOUT_OTHER] = f->timeout_other,
	};
	struct nlattr *nest = mnl_attr_nest_start(nlh, DUET_A_FLOWS);
	unsigned int i;

	for (i = DUET_A_FLOWS_SIZE; i < sizeof(value) / sizeof(value[0]); i++)
		if (value[i] != DUET_LIMIT_KEEP)
			mnl_attr_put_u32(nlh, i, value[i]);
	mnl_attr_nest_end(nlh, nest);
}

static int parse_flow(const struct nlmsghdr *nlh, struct duet_kept *kept)
{
	const struct nlattr *attr, *in;
	int ret = 0;

	memset(kept, 0, sizeof(*kept));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		unsigned int nest = mnl_attr_get_type(attr);

		if (nest != DUET_A_DIP && nest != DUET_A_FLOW)
			continue;
		mnl_attr_for_each_nested(in, attr) {
			if (nest == DUET_A_DIP) {
				if (mnl_attr_get_type(in) == DUET_A_DIP_ADDR)
					ret = nl_get_addr(in, &kept->dip);
				continue;
			}
			switch (mnl_attr_get_type(in)) {
			case DUET_A_FLOW_SRC:
				ret = nl_get_addr(in, &kept->flow.src);
				break;
			case DUET_A_FLOW_DST:
				ret = nl_get_addr(in, &kept->flow.dst);
				break;
			case DUET_A_FLOW_PROTO:
				kept->flow.proto = mnl_attr_get_u8(in);
				break;
			case DUET_A_FLOW_SPORT:
				kept->flow.sport = mnl_attr_get_u16(in);
				break;
			case DUET_A_FLOW_DPORT:
				kept->flow.dport = mnl_attr_get_u16(in);
				break;
			case DUET_A_FLOW_STATE:
				kept->state = mnl_attr_get_u8(in);
				break;
			case DUET_A_FLOW_IDLE:
				kept->idle = mnl_attr_get_u32(in);
				break;
			case DUET_A_FLOW_KEPT:
				kept->kept = true;
				break;
			}
			if (ret)
				return ret;
		}
	}
	return ret;
}

struct flows {
	void (*flow)(const struct duet_kept *kept, void *ctx);
	void *ctx;
};

static int flow_cb(const struct nlmsghdr *nlh, void *data)
{
	struct flows *flows = data;
	struct duet_kept kept;

	if (parse_flow(nlh, &kept)) {
		errno = EPROTO;
		return MNL_CB_ERROR;
	}
	flows->flow(&kept, flows->ctx);
	return MNL_CB_OK;
}

static int put_filter(struct nlmsghdr *nlh, const char *dev, const struct addr *vip,
		      const struct addr *dip, struct err *e)
{
	int ret = nl_put_dev(nlh, dev, e);
	struct nlattr *nest;

	if (ret)
		return ret;
	if (vip)
		nl_put_vip_addr(nlh, vip);
	if (dip) {
		nest = mnl_attr_nest_start(nlh, DUET_A_DIP);
		nl_put_addr(nlh, DUET_A_DIP_ADDR, dip);
		mnl_attr_nest_end(nlh, nest);
	}
	return 0;
}

int duet_nl_flows(struct duet_nl *nl, const char *dev, const struct addr *vip, const struct addr *dip,
		  void (*flow)(const struct duet_kept *kept, void *ctx), void *ctx, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_FLOW_GET, NLM_F_DUMP);
	struct flows flows = { flow, ctx };
	int ret = put_filter(nlh, dev, vip, dip, e);

	return ret ? ret : nl_call(nl, nlh, flow_cb, &flows, e);
}

int duet_nl_flow_flush(struct duet_nl *nl, const char *dev, const struct addr *vip,
		       const struct addr *dip, struct err *e)
{
	struct nlmsghdr *nlh = nl_begin(nl, nl->out, DUET_CMD_FLOW_FLUSH, NLM_F_ACK);
	int ret = put_filter(nlh, dev, vip, dip, e);

	return ret ? ret : nl_call(nl, nlh, NULL, NULL, e);
}
