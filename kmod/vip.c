// SPDX-License-Identifier: GPL-2.0
/*
 * VIPs and their rules: created, replaced and deleted as wholes. Limits are
 * checked before anything is touched; what is published was complete before.
 */
#include "vip.h"
#include "compat.h"
#include "guard.h"
#include "guest.h"
#include "netlink.h"
#include "percpu.h"

#include <net/ipv6.h>

struct kmem_cache *duet_vip_cache;

const char *duet_addr_text(char text[DUET_ADDR_TEXT], const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		snprintf(text, DUET_ADDR_TEXT, "%pI4", &addr->s6_addr32[3]);
	else
		snprintf(text, DUET_ADDR_TEXT, "%pI6c", addr);
	return text;
}

static struct hlist_head *duet_vip_head_of(struct duet_dev *dd,
					   const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return duet_vip_head(dd, (__force u32)addr->s6_addr32[3]);
	return duet_vip_head(dd, ipv6_addr_hash(addr));
}

struct duet_vip *duet_vip_find(struct duet_dev *dd, const struct in6_addr *addr)
{
	struct duet_vip *vip;

	duet_assert_locked(dd);
	hlist_for_each_entry(vip, duet_vip_head_of(dd, addr), node)
		if (ipv6_addr_equal(&vip->addr, addr))
			return vip;
	return NULL;
}

/* duet_acl_entries - rules that a switch keeps in its ACL table */
static u32 duet_acl_entries(const struct duet_rules *rules)
{
	u32 i, n = 0;

	for (i = 0; rules && i < rules->n; i++)
		n += rules->rule[i].match.proto || rules->rule[i].match.port;
	return n;
}

/* duet_used_without - dd->used as it would be if these rules were gone: counts
 * references down and up again, nothing is freed
 */
static struct duet_tables duet_used_without(struct duet_dev *dd,
					    struct duet_rules *rules)
{
	struct duet_tables used = dd->used;
	struct duet_rule *rule;
	u32 i, j;

	used.rules -= duet_acl_entries(rules);
	for (i = 0; rules && i < rules->n; i++) {
		struct duet_set *set;

		rule = &rules->rule[i];
		set = duet_set_locked(dd, rule);
		if (!--set->refs && !--set->group->refs)
			used.members -= set->group->n;
		if (--rule->lineup->refs)
			continue;
		for (j = 0; j < set->group->n; j++)
			if (!--rule->backends[j]->refs &&
			    !--rule->backends[j]->tunnel->refs)
				used.tunnels--;
	}
	for (i = 0; rules && i < rules->n; i++) {
		struct duet_set *set;

		rule = &rules->rule[i];
		set = duet_set_locked(dd, rule);
		if (!set->refs++)
			set->group->refs++;
		if (rule->lineup->refs++)
			continue;
		for (j = 0; j < set->group->n; j++)
			if (!rule->backends[j]->refs++)
				rule->backends[j]->tunnel->refs++;
	}
	return used;
}

static int duet_check_table(const char *table, u32 limit, u32 before, u32 after,
			    struct netlink_ext_ack *extack)
{
	if (!limit || after <= limit || after <= before)
		return 0;
	DUET_EXTACK_FMT(extack, "%s table full: %u of %u entries used, the VIP needs %u more",
			table, before, limit, after - before);
	return -ENOSPC;
}

/* duet_check_limits - after: with the new rules and without the old */
static int duet_check_limits(struct duet_dev *dd, const struct in6_addr *vip,
			     const struct duet_tables *before,
			     const struct duet_tables *after,
			     struct netlink_ext_ack *extack)
{
	const struct duet_tables *limits = &dd->limits;
	enum duet_table_attr table = DUET_A_TABLE_VIPS;
	int ret;

	ret = duet_check_table("host", limits->vips, before->vips, after->vips,
			       extack);
	if (!ret) {
		table = DUET_A_TABLE_RULES;
		ret = duet_check_table("ACL", limits->rules, before->rules,
				       after->rules, extack);
	}
	if (!ret) {
		table = DUET_A_TABLE_MEMBERS;
		ret = duet_check_table("ECMP", limits->members, before->members,
				       after->members, extack);
	}
	if (!ret) {
		table = DUET_A_TABLE_TUNNELS;
		ret = duet_check_table("tunnelling", limits->tunnels,
				       before->tunnels, after->tunnels, extack);
	}
	if (ret)
		duet_nl_notify_full(dd, table, vip);
	return ret;
}

static bool duet_dips_equal(const struct duet_set *set,
			    const struct duet_rule_config *config)
{
	u32 i;

	if (set->group->n != config->n_dips)
		return false;
	for (i = 0; i < set->group->n; i++)
		if (duet_dip_cmp(&set->dips[i], &config->dips[i]) ||
		    set->dips[i].weight != config->dips[i].weight ||
		    set->dips[i].down != config->dips[i].down)
			return false;
	return true;
}

static bool duet_match_is(const struct duet_match *a, const struct duet_match *b)
{
	return a->proto == b->proto && a->port == b->port &&
	       a->port_last == b->port_last;
}

static bool duet_rules_equal(const struct duet_dev *dd,
			     const struct duet_rules *rules,
			     const struct duet_vip_config *config)
{
	u32 i;

	if (rules->n != config->n_rules ||
	    memcmp(&rules->policy, &config->policy, sizeof(rules->policy)))
		return false;
	for (i = 0; i < rules->n; i++)
		if (!duet_match_is(&rules->rule[i].match, &config->rules[i].match) ||
		    rules->rule[i].match.fields != config->rules[i].match.fields ||
		    !duet_dips_equal(duet_set_locked(dd, &rules->rule[i]),
				     &config->rules[i]))
			return false;
	return true;
}

static void duet_rules_rcu(struct rcu_head *rcu)
{
	kvfree(container_of(rcu, struct duet_rules, rcu));
}

static long duet_rules_bytes(u32 n)
{
	return struct_size((struct duet_rules *)NULL, rule, n);
}

/* duet_rules_free - after they were unpublished; the last may be half made */
static void duet_rules_free(struct duet_dev *dd, struct duet_rules *rules)
{
	u32 i;

	if (!rules)
		return;
	for (i = 0; i < rules->n; i++) {
		struct duet_rule *rule = &rules->rule[i];
		struct duet_set *set = duet_set_locked(dd, rule);

		if (rule->lineup && set->group->lineup == rule->lineup &&
		    rule->lineup->refs == 1)
			set->group->lineup = NULL;
		if (rule->lineup)
			duet_lineup_put(dd, rule->lineup);
		duet_set_put(dd, set);
	}
	duet_account(duet_pernet(dd->net), -duet_rules_bytes(rules->room));
	call_rcu(&rules->rcu, duet_rules_rcu);
}

/* duet_backend_of - the old rule's backend for the DIP; not one that is shared */
static struct duet_backend *duet_backend_of(const struct duet_dev *dd,
					    const struct duet_rule *old,
					    const struct duet_dip *dip)
{
	const struct duet_set *set;
	u32 i;

	if (!old || old->lineup->shared)
		return NULL;
	set = duet_set_locked(dd, old);
	for (i = 0; i < set->group->n; i++)
		if (!duet_dip_cmp(&set->dips[i], dip))
			return old->backends[i];
	return NULL;
}

/* duet_lineup_fill - false: no memory, the lineup has what there was */
static bool duet_lineup_fill(struct duet_dev *dd, struct duet_lineup *lineup,
			     const struct duet_rule *old,
			     const struct duet_set *set, u32 rule)
{
	struct duet_backend *backend;
	u32 i;

	for (i = 0; i < lineup->n; i++) {
		backend = duet_backend_of(dd, old, &set->dips[i]);
		if (backend)
			backend->refs++;
		else
			backend = duet_backend_new(dd, set->dips[i].addr, rule);
		if (!backend)
			return false;
		lineup->backend[i] = backend;
		if (rule)
			continue;
		backend->at = i;
		backend->lineup = lineup;
	}
	return true;
}

/* duet_lineup_fits - has the mux room for backends of the rule's own */
static bool duet_lineup_fits(const struct duet_dev *dd, const struct duet_rule *old,
			     const struct duet_set *set)
{
	u32 i, n = 0;

	if (!dd->limits.backends)
		return true;
	for (i = 0; i < set->group->n; i++)
		n += !duet_backend_of(dd, old, &set->dips[i]);
	return !n || dd->used.backends + n <= dd->limits.backends;
}

/* duet_lineup_shared - the group's, with a reference; NULL: no memory */
static struct duet_lineup *duet_lineup_shared(struct duet_dev *dd,
					      const struct duet_set *set)
{
	struct duet_lineup *lineup = set->group->lineup;

	if (lineup) {
		lineup->refs++;
		return lineup;
	}
	lineup = duet_lineup_new(dd, set->group->n);
	if (!lineup)
		return NULL;
	lineup->shared = true;
	if (duet_lineup_fill(dd, lineup, NULL, set, 0)) {
		set->group->lineup = lineup;
		return lineup;
	}
	duet_lineup_put(dd, lineup);
	return NULL;
}

/* duet_rule_fill - on failure the rule holds what it got */
static int duet_rule_fill(struct duet_dev *dd, struct duet_rule *rule,
			  const struct duet_rule *old, struct duet_set *set,
			  struct netlink_ext_ack *extack)
{
	bool done;

	RCU_INIT_POINTER(rule->set, set);
	rule->id = old ? old->id : ++dd->last_rule;
	if (duet_lineup_fits(dd, old, set)) {
		rule->lineup = duet_lineup_new(dd, set->group->n);
		done = rule->lineup &&
		       duet_lineup_fill(dd, rule->lineup, old, set, rule->id);
	} else {
		rule->lineup = duet_lineup_shared(dd, set);
		done = rule->lineup;
	}
	if (!done) {
		NL_SET_ERR_MSG(extack, "out of memory for the DIPs");
		return -ENOMEM;
	}
	rule->backends = rule->lineup->backend;
	return 0;
}

static struct duet_rules *duet_rules_new(struct duet_dev *dd,
					 const struct duet_vip_config *config,
					 const struct duet_rules *old,
					 struct netlink_ext_ack *extack)
{
	const struct duet_keys *keys;
	struct duet_rules *rules;
	struct duet_set *set;
	u32 i, j;
	int ret;

	rules = kvzalloc(struct_size(rules, rule, config->n_rules), GFP_KERNEL_ACCOUNT);
	if (!rules) {
		NL_SET_ERR_MSG(extack, "out of memory for the rules");
		return ERR_PTR(-ENOMEM);
	}
	rules->room = config->n_rules;
	duet_account(duet_pernet(dd->net), duet_rules_bytes(rules->room));
	rules->policy = config->policy;
	keys = &dd->keys[config->policy.key];
	rules->key = config->policy.kind == DUET_KIND_TIP ? &keys->level2 :
							    &keys->level1;
	for (i = 0; i < config->n_rules; i++) {
		const struct duet_rule_config *rc = &config->rules[i];
		const struct duet_rule *was = NULL;

		for (j = 0; old && j < old->n; j++)
			if (duet_match_is(&old->rule[j].match, &rc->match))
				was = &old->rule[j];
		set = duet_set_get(dd, rc->dips, rc->n_dips, extack);
		if (IS_ERR(set)) {
			ret = PTR_ERR(set);
			goto err_free;
		}
		rules->rule[i].match = rc->match;
		rules->n = i + 1;
		ret = duet_rule_fill(dd, &rules->rule[i], was, set, extack);
		if (ret)
			goto err_free;
	}
	return rules;

err_free:
	duet_rules_free(dd, rules);
	return ERR_PTR(ret);
}

/* duet_rules_states - backends' states as their sets say; after publication */
static void duet_rules_states(const struct duet_dev *dd,
			      const struct duet_rules *rules)
{
	u32 i, j;

	for (i = 0; i < rules->n; i++) {
		const struct duet_set *set = duet_set_locked(dd, &rules->rule[i]);

		for (j = 0; !rules->rule[i].lineup->shared && j < set->group->n; j++)
			WRITE_ONCE(rules->rule[i].backends[j]->state,
				   set->dips[j].down);
	}
}

static int duet_check_drain(const struct duet_dev *dd, u8 state,
			    struct netlink_ext_ack *extack)
{
	if (state != DUET_DIP_DRAIN || dd->mode == DUET_MODE_SMUX)
		return 0;
	NL_SET_ERR_MSG(extack, "a DIP drains on a mux that keeps flows, in smux mode: move the VIP there, or set the DIP down");
	return -EOPNOTSUPP;
}

bool duet_vips_use_key(struct duet_dev *dd, unsigned int key)
{
	struct duet_vip *vip;
	u32 i;

	for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++)
		hlist_for_each_entry(vip, &dd->vips[i], node)
			if (duet_rules_locked(dd, vip)->policy.key == key)
				return true;
	return false;
}

/* duet_check_key - zeros are what a device starts with: key 0 may be so on a
 * lone mux, key 1 is there only for a change of keys
 */
static int duet_check_key(struct duet_dev *dd,
			  const struct duet_vip_config *config,
			  struct netlink_ext_ack *extack)
{
	u8 key = config->policy.key;

	if (!key || memchr_inv(dd->keys[key].bytes, 0, DUET_KEY_LEN))
		return 0;
	DUET_EXTACK_FMT(extack, "the VIP chooses by key %u, which isn't set: set it on the device first",
			key);
	return -EINVAL;
}

/* duet_check_dips - a DIP that is a VIP here, or a VIP that is a DIP, is a loop */
static int duet_check_dips(struct duet_dev *dd,
			   const struct duet_vip_config *config, bool is_new,
			   struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT];
	struct in6_addr dip;
	u32 i, n = 0;
	int ret;

	for (i = 0; i < config->n_rules; i++)
		n += config->rules[i].n_dips;
	for (i = 0; i < n; i++) {
		memcpy(&dip, config->dips[i].addr, sizeof(dip));
		if (ipv6_addr_equal(&dip, &config->addr)) {
			DUET_EXTACK_FMT(extack, "DIP %s is the VIP itself",
					duet_addr_text(text, &dip));
			return -EINVAL;
		}
		if (duet_vip_find(dd, &dip)) {
			DUET_EXTACK_FMT(extack, "DIP %s is a VIP of this mux",
					duet_addr_text(text, &dip));
			return -EINVAL;
		}
		if (!duet_tunnel_find(dd, dip.s6_addr)) {
			ret = duet_guard_dip(dd, &dip, extack);
			if (ret)
				return ret;
		}
		ret = duet_check_drain(dd, config->dips[i].down, extack);
		if (ret)
			return ret;
	}
	if (is_new && duet_tunnel_find(dd, config->addr.s6_addr)) {
		DUET_EXTACK_FMT(extack, "VIP %s is a DIP of another VIP of this mux",
				duet_addr_text(text, &config->addr));
		return -EINVAL;
	}
	return is_new ? duet_guard_vip(dd, &config->addr, extack) : 0;
}

static long duet_vip_bytes(void)
{
	return sizeof(struct duet_vip) + duet_percpu_stats.size * num_possible_cpus();
}

static struct duet_vip *duet_vip_new(const struct in6_addr *addr)
{
	struct duet_vip *vip = kmem_cache_zalloc(duet_vip_cache, GFP_KERNEL_ACCOUNT);

	if (!vip)
		return NULL;
	vip->stats = duet_percpu_get(&duet_percpu_stats, &vip->stats_slot);
	if (!vip->stats) {
		kmem_cache_free(duet_vip_cache, vip);
		return NULL;
	}
	duet_stats_init(vip->stats);
	vip->addr = *addr;
	if (ipv6_addr_v4mapped(addr))
		vip->addr4 = addr->s6_addr32[3];
	return vip;
}

static void duet_vip_release(struct duet_vip *vip)
{
	duet_percpu_put(&duet_percpu_stats, vip->stats_slot);
	kmem_cache_free(duet_vip_cache, vip);
}

int duet_vip_set(struct duet_dev *dd, const struct duet_vip_config *config,
		 bool *changed, struct netlink_ext_ack *extack)
{
	struct duet_vip *vip = duet_vip_find(dd, &config->addr);
	struct duet_rules *rules, *old = NULL;
	struct duet_tables before = dd->used, after;
	bool is_new = !vip;
	int ret;

	*changed = false;
	if (vip) {
		old = duet_rules_locked(dd, vip);
		if (duet_rules_equal(dd, old, config))
			return 0;
	}
	ret = duet_check_key(dd, config, extack);
	if (ret)
		return ret;
	ret = duet_check_dips(dd, config, is_new, extack);
	if (ret)
		return ret;
	if (is_new) {
		vip = duet_vip_new(&config->addr);
		if (!vip) {
			NL_SET_ERR_MSG(extack, "out of memory for the VIP");
			return -ENOMEM;
		}
		duet_account(duet_pernet(dd->net), duet_vip_bytes());
	}
	rules = duet_rules_new(dd, config, old, extack);
	if (IS_ERR(rules)) {
		ret = PTR_ERR(rules);
		goto err_free_vip;
	}
	/* what was shared with the old rules is counted once */
	after = duet_used_without(dd, old);
	after.rules += duet_acl_entries(rules);
	after.vips += is_new;
	ret = duet_check_limits(dd, &config->addr, &before, &after, extack);
	if (!ret)
		ret = duet_guest_check(duet_pernet(dd->net), extack);
	if (ret)
		goto err_free_rules;

	rcu_assign_pointer(vip->rules, rules);
	duet_rules_states(dd, rules);
	if (is_new)
		hlist_add_head_rcu(&vip->node,
				   duet_vip_head_of(dd, &config->addr));
	duet_rules_free(dd, old);
	dd->used.vips = after.vips;
	dd->used.rules = after.rules;
	duet_dev_changed(dd);
	*changed = true;
	return 0;

err_free_rules:
	duet_rules_free(dd, rules);
err_free_vip:
	if (is_new) {
		duet_account(duet_pernet(dd->net), -duet_vip_bytes());
		duet_vip_release(vip);
	}
	return ret;
}

static void duet_vip_rcu(struct rcu_head *rcu)
{
	duet_vip_release(container_of(rcu, struct duet_vip, rcu));
}

static void duet_vip_remove(struct duet_dev *dd, struct duet_vip *vip)
{
	struct duet_rules *rules = duet_rules_locked(dd, vip);

	hlist_del_rcu(&vip->node);
	dd->used.vips--;
	dd->used.rules -= duet_acl_entries(rules);
	duet_account(duet_pernet(dd->net), -duet_vip_bytes());
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

	duet_assert_locked(dd);
	if (!dd->used.vips)
		return;
	for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++) {
		hlist_for_each_entry_safe(vip, next, &dd->vips[i], node)
			duet_vip_remove(dd, vip);
		cond_resched();
	}
	duet_dev_changed(dd);
}

/* duet_rule_prepare - rule->next, the set with the DIP in this state, if the
 * rule has the DIP and in another state. 1 if it has it, 0 if not, -ENOMEM.
 */
static int duet_rule_prepare(struct duet_dev *dd, struct duet_rule *rule,
			     const struct in6_addr *dip, u8 state)
{
	struct duet_set *set = duet_set_locked(dd, rule), *next;
	struct duet_dip *dips;
	u32 i;

	for (i = 0; i < set->group->n; i++)
		if (!memcmp(set->dips[i].addr, dip, sizeof(*dip)))
			break;
	if (i == set->group->n)
		return 0;
	if (set->dips[i].down == state)
		return 1;

	dips = kvmalloc_array(set->group->n, sizeof(*dips), GFP_KERNEL);
	if (!dips)
		return -ENOMEM;
	memcpy(dips, set->dips, set->group->n * sizeof(*dips));
	dips[i].down = state;
	next = duet_set_restate(dd, set, dips);
	kvfree(dips);
	if (IS_ERR(next))
		return PTR_ERR(next);
	rule->next = next;
	rule->next_at = i;
	return 1;
}

static int duet_vip_prepare(struct duet_dev *dd, struct duet_vip *vip,
			    const struct in6_addr *dip, u8 state)
{
	struct duet_rules *rules = duet_rules_locked(dd, vip);
	int ret, found = 0;
	u32 i;

	for (i = 0; i < rules->n; i++) {
		ret = duet_rule_prepare(dd, &rules->rule[i], dip, state);
		if (ret < 0)
			return ret;
		found |= ret;
	}
	return found;
}

/* duet_vip_commit - publish what was prepared, or with publish false drop it;
 * true if there was something
 */
static bool duet_vip_commit(struct duet_dev *dd, struct duet_vip *vip,
			    bool publish)
{
	struct duet_rules *rules = duet_rules_locked(dd, vip);
	bool any = false;
	u32 i;

	for (i = 0; i < rules->n; i++) {
		struct duet_rule *rule = &rules->rule[i];
		struct duet_set *set = duet_set_locked(dd, rule), *next = rule->next;

		if (!next)
			continue;
		any = true;
		rule->next = NULL;
		if (!publish) {
			duet_set_put(dd, next);
			continue;
		}
		rcu_assign_pointer(rule->set, next);
		if (!rule->lineup->shared)
			WRITE_ONCE(rule->backends[rule->next_at]->state,
				   next->dips[rule->next_at].down);
		duet_set_put(dd, set);
	}
	return any;
}

/* duet_dip_check - found, unless what was prepared is more than a guest may have */
static int duet_dip_check(const struct duet_dev *dd, int found,
			  struct netlink_ext_ack *extack)
{
	int ret = duet_guest_check(duet_pernet(dd->net), extack);

	return ret ?: found;
}

/* duet_dip_set_all - in every VIP of the mux, or in none */
static int duet_dip_set_all(struct duet_dev *dd, const struct in6_addr *dip,
			    u8 state, bool *changed,
			    struct netlink_ext_ack *extack)
{
	struct duet_vip *vip;
	int ret = 0, found = 0;
	u32 i;

	if (!duet_tunnel_find(dd, dip->s6_addr))
		return 0;
	for (i = 0; i < 1 << DUET_VIP_HASH_BITS && ret >= 0; i++) {
		hlist_for_each_entry(vip, &dd->vips[i], node) {
			ret = duet_vip_prepare(dd, vip, dip, state);
			if (ret < 0)
				break;
			found |= ret;
		}
	}
	if (ret >= 0)
		ret = duet_dip_check(dd, ret, extack);
	for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++) {
		hlist_for_each_entry(vip, &dd->vips[i], node) {
			if (duet_vip_commit(dd, vip, ret >= 0) && ret >= 0)
				*changed = true;
		}
	}
	return ret < 0 ? ret : found;
}

int duet_dip_set(struct duet_dev *dd, const struct in6_addr *addr,
		 const struct in6_addr *dip, enum duet_dip_state state,
		 bool *changed, struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT];
	struct duet_vip *vip;
	int ret;

	*changed = false;
	ret = duet_check_drain(dd, state, extack);
	if (ret)
		return ret;
	if (addr) {
		vip = duet_vip_find(dd, addr);
		if (!vip) {
			NL_SET_ERR_MSG(extack, "the mux has no such VIP");
			return -ENOENT;
		}
		ret = duet_vip_prepare(dd, vip, dip, state);
		if (ret >= 0)
			ret = duet_dip_check(dd, ret, extack);
		*changed = duet_vip_commit(dd, vip, ret >= 0) && ret >= 0;
	} else {
		ret = duet_dip_set_all(dd, dip, state, changed, extack);
	}
	if (ret == -ENOMEM)
		NL_SET_ERR_MSG(extack, "out of memory for the DIP table");
	if (ret < 0)
		return ret;
	if (!ret) {
		DUET_EXTACK_FMT(extack, "%s no DIP %s",
				addr ? "the VIP has" : "VIPs of the mux have",
				duet_addr_text(text, dip));
		return -ENOENT;
	}
	if (*changed)
		duet_dev_changed(dd);
	return 0;
}
