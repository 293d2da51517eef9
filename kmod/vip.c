// SPDX-License-Identifier: GPL-2.0
/*
 * VIPs and their rules: created, replaced and deleted as wholes. Limits are
 * checked before anything is touched; what is published was complete before.
 */
#include "vip.h"
#include "compat.h"

#include <linux/sort.h>
#include <net/ipv6.h>

struct duet_vip *duet_vip_find(struct duet_dev *dd, const struct in6_addr *addr)
{
	struct duet_vip *vip;
	struct hlist_head *head;

	head = &dd->vips[duet_vip_hash4(addr->s6_addr32[3])];
	hlist_for_each_entry(vip, head, node)
		if (ipv6_addr_equal(&vip->addr, addr))
			return vip;
	return NULL;
}

/* What a VIP takes of the device's tables. Tunnels are counted apart: they are
 * shared.
 */
struct duet_need {
	u32 rules, members;
};

static struct duet_need duet_need_config(const struct duet_vip_config *config)
{
	struct duet_need need = {};
	u32 i;

	for (i = 0; i < config->n_rules; i++) {
		need.rules += config->rules[i].proto || config->rules[i].port;
		need.members += config->rules[i].n_dips;
	}
	return need;
}

static struct duet_need duet_need_rules(const struct duet_rules *rules)
{
	struct duet_need need = {};
	u32 i;

	for (i = 0; rules && i < rules->n; i++) {
		need.rules += rules->rule[i].proto || rules->rule[i].port;
		need.members += duet_set_locked(&rules->rule[i])->n;
	}
	return need;
}

static int duet_dip_sort_cmp(const void *a, const void *b)
{
	return duet_dip_cmp(a, b);
}

/* duet_new_tunnels - tunnels a replacement adds: those not known, less those
 * that only the VIP's old rules hold. -ENOMEM or the difference, which may be
 * negative; *new is the number of DIPs not known.
 */
static int duet_new_tunnels(struct duet_dev *dd,
			    const struct duet_vip_config *config,
			    const struct duet_rules *old, s64 *diff)
{
	u32 i, j, n = 0, n_old = 0, refs;
	struct duet_dip *all;

	for (i = 0; i < config->n_rules; i++)
		n += config->rules[i].n_dips;
	all = kvmalloc_array(n, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	memcpy(all, config->dips, n * sizeof(*all));
	sort(all, n, sizeof(*all), duet_dip_sort_cmp, NULL);

	*diff = 0;
	for (i = 0; i < n; i++)
		if ((!i || duet_dip_cmp(&all[i - 1], &all[i])) &&
		    !duet_tunnel_known(dd, all[i].addr))
			(*diff)++;

	/* a tunnel whose every reference is the old VIP's own goes with it,
	 * unless the new one has the DIP too
	 */
	for (i = 0; old && i < old->n; i++)
		n_old += duet_set_locked(&old->rule[i])->n;
	kvfree(all);
	if (!n_old)
		return 0;
	all = kvmalloc_array(n_old, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	for (i = 0, n_old = 0; i < old->n; i++) {
		const struct duet_set *set = duet_set_locked(&old->rule[i]);

		memcpy(all + n_old, set->dips, set->n * sizeof(*all));
		n_old += set->n;
	}
	sort(all, n_old, sizeof(*all), duet_dip_sort_cmp, NULL);
	for (i = 0; i < n_old; i += refs) {
		struct duet_tunnel *tunnel;
		bool kept = false;

		for (refs = 1; i + refs < n_old &&
		     !duet_dip_cmp(&all[i], &all[i + refs]); refs++)
			;
		tunnel = duet_tunnel_get(dd, all[i].addr);
		if (!tunnel) {
			kvfree(all);
			return -ENOMEM;
		}
		for (j = 0; j < n && !kept; j++)
			kept = !duet_dip_cmp(&config->dips[j], &all[i]);
		if (!kept && tunnel->refs == refs + 1)
			(*diff)--;
		duet_tunnel_put(dd, tunnel);
	}
	kvfree(all);
	return 0;
}

static int duet_full(struct netlink_ext_ack *extack, const char *table,
		     u32 used, u32 limit, s64 more)
{
	DUET_EXTACK_FMT(extack, "%s table full: %u of %u entries used, the VIP needs %lld more",
			table, used, limit, more);
	return -ENOSPC;
}

static bool duet_exceeds(u32 limit, u32 used, s64 more)
{
	return limit && more > 0 && used + more > limit;
}

static int duet_check_limits(struct duet_dev *dd,
			     const struct duet_vip_config *config,
			     const struct duet_vip *vip,
			     struct netlink_ext_ack *extack)
{
	const struct duet_rules *old = vip ? duet_rules_locked(vip) : NULL;
	struct duet_need need = duet_need_config(config);
	struct duet_need has = duet_need_rules(old);
	const struct duet_tables *limits = &dd->limits;
	s64 more;
	int ret;

	if (!vip && duet_exceeds(limits->vips, dd->used.vips, 1))
		return duet_full(extack, "host", dd->used.vips, limits->vips, 1);
	more = (s64)need.rules - has.rules;
	if (duet_exceeds(limits->rules, dd->used.rules, more))
		return duet_full(extack, "ACL", dd->used.rules, limits->rules, more);
	more = (s64)need.members - has.members;
	if (duet_exceeds(limits->members, dd->used.members, more))
		return duet_full(extack, "ECMP", dd->used.members,
				 limits->members, more);
	if (!limits->tunnels)
		return 0;
	ret = duet_new_tunnels(dd, config, old, &more);
	if (ret)
		return ret;
	if (duet_exceeds(limits->tunnels, dd->used.tunnels, more))
		return duet_full(extack, "tunnelling", dd->used.tunnels,
				 limits->tunnels, more);
	return 0;
}

static bool duet_dips_equal(const struct duet_set *set,
			    const struct duet_rule_config *config)
{
	u32 i;

	if (set->n != config->n_dips)
		return false;
	for (i = 0; i < set->n; i++)
		if (duet_dip_cmp(&set->dips[i], &config->dips[i]) ||
		    set->dips[i].weight != config->dips[i].weight ||
		    set->dips[i].down != config->dips[i].down)
			return false;
	return true;
}

static bool duet_rule_is(const struct duet_rule *rule,
			 const struct duet_rule_config *config)
{
	return rule->proto == config->proto && rule->port == config->port &&
	       rule->port_last == config->port_last;
}

static bool duet_rules_equal(const struct duet_rules *rules,
			     const struct duet_vip_config *config)
{
	u32 i;

	if (rules->n != config->n_rules)
		return false;
	for (i = 0; i < rules->n; i++)
		if (!duet_rule_is(&rules->rule[i], &config->rules[i]) ||
		    rules->rule[i].fields != config->rules[i].fields ||
		    !duet_dips_equal(duet_set_locked(&rules->rule[i]),
				     &config->rules[i]))
			return false;
	return true;
}

/* duet_rules_free - after they were unpublished */
static void duet_rules_free(struct duet_dev *dd, struct duet_rules *rules)
{
	u32 i;

	if (!rules)
		return;
	for (i = 0; i < rules->n; i++)
		duet_set_free(dd, duet_set_locked(&rules->rule[i]));
	kvfree_rcu(rules, rcu);
}

static struct duet_rules *duet_rules_new(struct duet_dev *dd,
					 const struct duet_vip_config *config,
					 const struct duet_rules *old,
					 struct netlink_ext_ack *extack)
{
	struct duet_rules *rules;
	struct duet_set *set;
	u32 i, j;

	rules = kvzalloc(struct_size(rules, rule, config->n_rules), GFP_KERNEL);
	if (!rules) {
		NL_SET_ERR_MSG(extack, "out of memory for the rules");
		return ERR_PTR(-ENOMEM);
	}
	for (i = 0; i < config->n_rules; i++) {
		const struct duet_rule_config *rc = &config->rules[i];
		const struct duet_set *was = NULL;

		for (j = 0; old && j < old->n; j++)
			if (duet_rule_is(&old->rule[j], rc))
				was = duet_set_locked(&old->rule[j]);
		set = duet_set_new(dd, rc->dips, rc->n_dips, was, extack);
		if (IS_ERR(set)) {
			duet_rules_free(dd, rules);
			return ERR_CAST(set);
		}
		rules->rule[i].proto = rc->proto;
		rules->rule[i].port = rc->port;
		rules->rule[i].port_last = rc->port_last;
		rules->rule[i].fields = rc->fields;
		RCU_INIT_POINTER(rules->rule[i].set, set);
		rules->n = i + 1;
	}
	return rules;
}

/* duet_check_addresses - a DIP that is a VIP here, or a VIP that is a DIP, is
 * a loop
 */
static int duet_check_addresses(struct duet_dev *dd,
				const struct duet_vip_config *config,
				bool is_new, struct netlink_ext_ack *extack)
{
	struct in6_addr dip;
	u32 i, n = 0;

	for (i = 0; i < config->n_rules; i++)
		n += config->rules[i].n_dips;
	for (i = 0; i < n; i++) {
		memcpy(&dip, config->dips[i].addr, sizeof(dip));
		if (ipv6_addr_equal(&dip, &config->addr)) {
			DUET_EXTACK_FMT(extack, "DIP %pI4 is the VIP itself",
					&dip.s6_addr32[3]);
			return -EINVAL;
		}
		if (duet_vip_find(dd, &dip)) {
			DUET_EXTACK_FMT(extack, "DIP %pI4 is a VIP of this mux",
					&dip.s6_addr32[3]);
			return -EINVAL;
		}
	}
	if (is_new && duet_tunnel_known(dd, config->addr.s6_addr)) {
		DUET_EXTACK_FMT(extack, "VIP %pI4 is a DIP of another VIP of this mux",
				&config->addr.s6_addr32[3]);
		return -EINVAL;
	}
	return 0;
}

int duet_vip_set(struct duet_dev *dd, const struct duet_vip_config *config,
		 bool *changed, struct netlink_ext_ack *extack)
{
	struct duet_vip *vip = duet_vip_find(dd, &config->addr);
	struct duet_rules *rules, *old = NULL;
	struct duet_need need, had = {};
	bool is_new = !vip;
	int ret;

	*changed = false;
	if (vip) {
		old = duet_rules_locked(vip);
		if (duet_rules_equal(old, config))
			return 0;
		had = duet_need_rules(old);
	}
	ret = duet_check_addresses(dd, config, is_new, extack);
	if (ret)
		return ret;
	ret = duet_check_limits(dd, config, vip, extack);
	if (ret)
		return ret;

	if (is_new) {
		ret = -ENOMEM;
		vip = kzalloc(sizeof(*vip), GFP_KERNEL);
		if (!vip)
			goto err_nomem;
		vip->stats = alloc_percpu(struct duet_stats);
		if (!vip->stats)
			goto err_free_vip;
		duet_stats_init(vip->stats);
		vip->addr = config->addr;
		vip->addr4 = config->addr.s6_addr32[3];
	}
	rules = duet_rules_new(dd, config, old, extack);
	if (IS_ERR(rules)) {
		ret = PTR_ERR(rules);
		goto err_free_stats;
	}
	rcu_assign_pointer(vip->rules, rules);
	if (is_new) {
		hlist_add_head_rcu(&vip->node,
				   &dd->vips[duet_vip_hash4(vip->addr4)]);
		dd->used.vips++;
	}
	duet_rules_free(dd, old);

	need = duet_need_config(config);
	dd->used.rules += need.rules - had.rules;
	dd->used.members += need.members - had.members;
	duet_dev_changed(dd);
	*changed = true;
	return 0;

err_free_stats:
	if (!is_new)
		return ret;
	free_percpu(vip->stats);
err_free_vip:
	kfree(vip);
err_nomem:
	if (ret == -ENOMEM)
		NL_SET_ERR_MSG(extack, "out of memory for the VIP");
	return ret;
}

static void duet_vip_rcu(struct rcu_head *rcu)
{
	struct duet_vip *vip = container_of(rcu, struct duet_vip, rcu);

	free_percpu(vip->stats);
	kfree(vip);
}

static void duet_vip_remove(struct duet_dev *dd, struct duet_vip *vip)
{
	struct duet_rules *rules = duet_rules_locked(vip);
	struct duet_need need = duet_need_rules(rules);

	hlist_del_rcu(&vip->node);
	dd->used.vips--;
	dd->used.rules -= need.rules;
	dd->used.members -= need.members;
	duet_rules_free(dd, rules);
	call_rcu(&vip->rcu, duet_vip_rcu);
}

int duet_vip_del(struct duet_dev *dd, const struct in6_addr *addr,
		 struct netlink_ext_ack *extack)
{
	struct duet_vip *vip = duet_vip_find(dd, addr);

	if (!vip) {
		NL_SET_ERR_MSG(extack, "the mux has no such VIP");
		return -ENOENT;
	}
	duet_vip_remove(dd, vip);
	duet_dev_changed(dd);
	return 0;
}

void duet_vip_flush(struct duet_dev *dd)
{
	struct hlist_node *next;
	struct duet_vip *vip;
	u32 i;

	if (!dd->used.vips)
		return;
	for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++) {
		hlist_for_each_entry_safe(vip, next, &dd->vips[i], node)
			duet_vip_remove(dd, vip);
		cond_resched();
	}
	duet_dev_changed(dd);
}

/* duet_rule_dip_set - one rule; 1 if the rule has the DIP, 0 if not, -ENOMEM */
static int duet_rule_dip_set(struct duet_dev *dd, struct duet_rule *rule,
			     const struct in6_addr *dip, bool down, bool *changed)
{
	struct duet_set *set = duet_set_locked(rule), *new;
	struct duet_dip *dips;
	u32 i;

	for (i = 0; i < set->n; i++)
		if (!memcmp(set->dips[i].addr, dip, sizeof(*dip)))
			break;
	if (i == set->n)
		return 0;
	if (set->dips[i].down == down)
		return 1;

	dips = kvmalloc_array(set->n, sizeof(*dips), GFP_KERNEL);
	if (!dips)
		return -ENOMEM;
	memcpy(dips, set->dips, set->n * sizeof(*dips));
	dips[i].down = down;
	new = duet_set_restate(dd, set, dips);
	kvfree(dips);
	if (IS_ERR(new))
		return PTR_ERR(new);
	rcu_assign_pointer(rule->set, new);
	duet_set_free(dd, set);
	*changed = true;
	return 1;
}

static int duet_vip_dip_set(struct duet_dev *dd, struct duet_vip *vip,
			    const struct in6_addr *dip, bool down, bool *changed)
{
	struct duet_rules *rules = duet_rules_locked(vip);
	int ret, found = 0;
	u32 i;

	for (i = 0; i < rules->n; i++) {
		ret = duet_rule_dip_set(dd, &rules->rule[i], dip, down, changed);
		if (ret < 0)
			return ret;
		found |= ret;
	}
	return found;
}

int duet_dip_set(struct duet_dev *dd, const struct in6_addr *addr,
		 const struct in6_addr *dip, enum duet_dip_state state,
		 bool *changed, struct netlink_ext_ack *extack)
{
	bool down = state == DUET_DIP_DOWN;
	struct duet_vip *vip;
	int ret, found = 0;
	u32 i;

	*changed = false;
	if (addr) {
		vip = duet_vip_find(dd, addr);
		if (!vip) {
			NL_SET_ERR_MSG(extack, "the mux has no such VIP");
			return -ENOENT;
		}
		found = duet_vip_dip_set(dd, vip, dip, down, changed);
	} else if (duet_tunnel_known(dd, dip->s6_addr)) {
		for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++) {
			hlist_for_each_entry(vip, &dd->vips[i], node) {
				ret = duet_vip_dip_set(dd, vip, dip, down, changed);
				if (ret < 0) {
					found = ret;
					goto out;
				}
				found |= ret;
			}
		}
	}
out:
	if (*changed)
		duet_dev_changed(dd);
	if (found < 0) {
		NL_SET_ERR_MSG(extack, "out of memory for the DIP table");
		return found;
	}
	if (!found) {
		DUET_EXTACK_FMT(extack, "%s no DIP %pI4",
				addr ? "the VIP has" : "VIPs of the mux have",
				&dip->s6_addr32[3]);
		return -ENOENT;
	}
	return 0;
}
