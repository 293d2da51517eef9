// SPDX-License-Identifier: GPL-2.0
/* Faults of VIPs that their health policy sees: panic, DIPs of last resort in use. */
#include "faults.h"

static void policy_fault(const struct uvip *v, struct fault_list *list)
{
	switch (v->mode) {
	case POLICY_PANIC_ALL:
		fault_add(list, FAULT_VIP_PANIC, OBJECT_VIP, v->text,
			  "VIP %s: too few of its DIPs are up (min-share %u %%): all are used as if up", v->text, v->policy.min_share);
		break;
	case POLICY_PANIC_NONE:
		fault_add(list, FAULT_VIP_PANIC, OBJECT_VIP, v->text,
			  "VIP %s: too few of its DIPs are up (min-share %u %%): none is used", v->text, v->policy.min_share);
		break;
	case POLICY_LAST_RESORT:
		fault_add(list, FAULT_VIP_LAST_RESORT, OBJECT_VIP, v->text, "VIP %s: only DIPs of last resort are up", v->text);
		break;
	case POLICY_LOW:
		if (v->policy.min_share)	/* without one it is enough that some DIP is up */
			fault_add(list, FAULT_VIP_BELOW_MIN_SHARE, OBJECT_VIP, v->text,
				  "VIP %s: less than %u %% of the weight of a rule is up", v->text, v->policy.min_share);
		break;
	case POLICY_NORMAL:
		break;
	}
}

void fault_policies(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		vip_judge(u, u->vips[i]);
		policy_fault(u->vips[i], list);
	}
}
