// SPDX-License-Identifier: GPL-2.0
/*
 * The flow table: see flow.h.
 *
 * A bucket's tags fill one cache line with its lock, and lookup reads that
 * line and the one entry. Entries that are idle are free for others at once;
 * the sweep makes the tags say so. An entry of which one packet was seen gives
 * way to a new flow when its bucket is full, one with more never does: a flood
 * of first packets can't push out connections.
 */
#include "flow.h"
#include "netlink.h"

#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <net/ipv6.h>

#define DUET_FLOW_SWEEP		HZ

const struct duet_flow_config duet_flow_default = {
	.max		= DUET_FLOWS_DEFAULT,
	.rate		= DUET_FLOW_RATE_DEFAULT,
	.timeout_new	= 60,
	.timeout_tcp	= 900,
	.timeout_fin	= 20,
	.timeout_other	= 60,
};

/* duet_flow_count - BH off */
static void duet_flow_count(struct duet_flows *flows, enum duet_flow_counter which)
{
	struct duet_flow_stats *stats = this_cpu_ptr(flows->stats);

	u64_stats_update_begin(&stats->syncp);
	u64_stats_inc(&stats->count[which]);
	u64_stats_update_end(&stats->syncp);
}

static bool duet_flow_idle(const struct duet_flows *flows,
			   const struct duet_flow *flow, u32 now)
{
	u8 state = READ_ONCE(flow->state);
	s32 idle = now - READ_ONCE(flow->used);
	u32 timeout;

	timeout = READ_ONCE(flows->timeout[state][flow->proto == IPPROTO_TCP]);
	return idle >= 0 && idle > timeout;
}

static bool duet_flow_is(const struct duet_flow *flow,
			 const struct duet_tuple *t)
{
	if (flow->src[0] != t->src[0] || flow->sport != t->sport ||
	    flow->dst[0] != t->dst[0] || flow->dport != t->dport ||
	    flow->proto != t->proto || flow->family != t->family)
		return false;
	return t->family == 4 ||
	       (!memcmp(flow->src, t->src, sizeof(t->src)) &&
		!memcmp(flow->dst, t->dst, sizeof(t->dst)));
}

/* duet_flow_touch - a packet of the flow went by. Written only if it changes
 * something: packets of a flow may come on several CPUs.
 */
static void duet_flow_touch(struct duet_flow *flow, const struct duet_tuple *t,
			    u32 now)
{
	u8 state = READ_ONCE(flow->state);

	if (unlikely(now - READ_ONCE(flow->used) > HZ / 4))
		WRITE_ONCE(flow->used, now);
	if (unlikely(t->flags & DUET_T_END))
		state = DUET_FLOW_CLOSING;
	else if (unlikely(state == DUET_FLOW_NEW))
		state = DUET_FLOW_OPEN;
	else
		return;
	if (state != READ_ONCE(flow->state))
		WRITE_ONCE(flow->state, state);
}

/* duet_flow_adopt - the flow's rule is another than when it was bound, a more
 * specific one or no longer that: this rule's backend for the same DIP, if it
 * has one
 */
static noinline struct duet_backend *
duet_flow_adopt(struct duet_flow_bucket *bucket, struct duet_flow *flow,
		const struct duet_rule *rule, const struct duet_tuple *t,
		bool touch)
{
	const struct duet_set *set = rcu_dereference(rule->set);
	struct duet_backend *backend = NULL;
	u32 i;

	spin_lock(&bucket->lock);
	if (!duet_flow_is(flow, t))
		goto unlock;	/* another took its place */
	for (i = 0; i < set->group->n && !backend; i++)
		if (rule->backends[i]->tunnel->id == flow->tunnel)
			backend = rule->backends[i];
	if (backend && touch) {
		write_seqcount_begin(&flow->seq);
		flow->slot = backend->slot;
		flow->id = backend->id;
		write_seqcount_end(&flow->seq);
	}
unlock:
	spin_unlock(&bucket->lock);
	return backend;
}

struct duet_backend *duet_flow_lookup(const struct duet_dev *dd,
				      struct duet_flows *flows,
				      const struct duet_rule *rule,
				      const struct duet_tuple *t, u32 hash,
				      bool touch)
{
	u32 tag = hash | 1, now = jiffies;
	u32 at = hash >> 1 & flows->mask, way, slot, id;
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	struct duet_backend *backend;
	struct duet_flow *flow;
	unsigned int seq;
	bool is;

	for (way = 0; way < DUET_FLOW_WAYS; way++) {
		if (likely(READ_ONCE(bucket->tag[way]) != tag))
			continue;
		flow = &flows->flows[at * DUET_FLOW_WAYS + way];
		do {
			seq = read_seqcount_begin(&flow->seq);
			is = duet_flow_is(flow, t);
			slot = flow->slot;
			id = flow->id;
		} while (read_seqcount_retry(&flow->seq, seq));
		if (unlikely(!is) || duet_flow_idle(flows, flow, now))
			continue;
		backend = duet_backend_find(dd, slot, id);
		if (unlikely(!backend || backend->rule != rule->id))
			backend = duet_flow_adopt(bucket, flow, rule, t, touch);
		if (unlikely(!backend ||
			     READ_ONCE(backend->state) == DUET_DIP_DOWN))
			return NULL;
		if (touch) {
			duet_flow_touch(flow, t, now);
			duet_flow_count(flows, DUET_FLOW_HIT);
		}
		return backend;
	}
	return NULL;
}

/* duet_flow_allowed - this CPU's share of new entries for this second */
static bool duet_flow_allowed(struct duet_flows *flows)
{
	u32 rate = READ_ONCE(flows->rate), second = jiffies / HZ;
	struct duet_flow_stats *stats = this_cpu_ptr(flows->stats);

	if (!rate)
		return true;
	if (stats->second != second) {
		stats->second = second;
		stats->budget = rate;
	}
	if (!stats->budget)
		return false;
	stats->budget--;
	return true;
}

/* duet_flow_way - the way for a new flow: its own, a free or idle one, the
 * oldest of which one packet was seen; -1: none. Bucket locked.
 */
static int duet_flow_way(struct duet_flows *flows, u32 at, u32 tag,
			 const struct duet_tuple *t, u32 now, bool *own)
{
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	int way, free = -1, oldest = -1;
	struct duet_flow *flow;
	u32 age = 0;

	*own = false;
	for (way = 0; way < DUET_FLOW_WAYS; way++) {
		flow = &flows->flows[at * DUET_FLOW_WAYS + way];
		if (bucket->tag[way] == tag && duet_flow_is(flow, t)) {
			*own = true;
			return way;
		}
		if (!bucket->tag[way] || duet_flow_idle(flows, flow, now)) {
			if (free < 0 || !bucket->tag[way])
				free = way;
		} else if (flow->state == DUET_FLOW_NEW &&
			   now - flow->used >= age) {
			age = now - flow->used;
			oldest = way;
		}
	}
	return free >= 0 ? free : oldest;
}

void duet_flow_bind(struct duet_flows *flows, const struct duet_tuple *t,
		    u32 hash, const struct duet_backend *backend)
{
	u32 tag = hash | 1, now = jiffies;
	u32 at = hash >> 1 & flows->mask;
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	struct duet_flow *flow;
	bool own;
	int way;

	if (unlikely(!duet_flow_allowed(flows))) {
		duet_flow_count(flows, DUET_FLOW_LIMITED);
		return;
	}
	spin_lock(&bucket->lock);
	way = duet_flow_way(flows, at, tag, t, now, &own);
	if (unlikely(way < 0)) {
		spin_unlock(&bucket->lock);
		duet_flow_count(flows, DUET_FLOW_FULL);
		return;
	}
	flow = &flows->flows[at * DUET_FLOW_WAYS + way];
	if (!own) {
		duet_flow_count(flows, DUET_FLOW_ADDED);
		if (bucket->tag[way])
			duet_flow_count(flows, DUET_FLOW_REMOVED);
	}
	write_seqcount_begin(&flow->seq);
	flow->src[0] = t->src[0];
	flow->dst[0] = t->dst[0];
	if (t->family == 6) {
		memcpy(flow->src, t->src, sizeof(t->src));
		memcpy(flow->dst, t->dst, sizeof(t->dst));
	}
	flow->sport = t->sport;
	flow->dport = t->dport;
	flow->proto = t->proto;
	flow->family = t->family;
	flow->slot = backend->slot;
	flow->id = backend->id;
	flow->tunnel = backend->tunnel->id;
	WRITE_ONCE(flow->used, now);
	/* RST of a connection nobody knows: no need to remember it for long */
	WRITE_ONCE(flow->state, t->flags & DUET_T_END ? DUET_FLOW_CLOSING :
							DUET_FLOW_NEW);
	write_seqcount_end(&flow->seq);
	WRITE_ONCE(bucket->tag[way], tag);
	spin_unlock(&bucket->lock);
}

static u64 duet_flow_sum(const struct duet_flows *flows,
			 enum duet_flow_counter which)
{
	u64 sum = 0, count;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct duet_flow_stats *s = per_cpu_ptr(flows->stats, cpu);
		unsigned int start;

		do {
			start = u64_stats_fetch_begin(&s->syncp);
			count = u64_stats_read(&s->count[which]);
		} while (u64_stats_fetch_retry(&s->syncp, start));
		sum += count;
	}
	return sum;
}

/* duet_flow_tell_full - when the table begins to lack room, and again after it
 * had enough for a while
 */
static void duet_flow_tell_full(struct duet_flows *flows)
{
	u64 full = duet_flow_sum(flows, DUET_FLOW_FULL);

	if (full != flows->full && !flows->is_full)
		duet_nl_notify_flows_full(flows->dd,
					  (flows->mask + 1) * DUET_FLOW_WAYS, full);
	flows->is_full = full != flows->full;
	flows->full = full;
}

/* duet_flow_none - no way is taken */
static bool duet_flow_none(const struct duet_flow_bucket *bucket)
{
	u32 way, tags = 0;

	for (way = 0; way < DUET_FLOW_WAYS; way++)
		tags |= READ_ONCE(bucket->tag[way]);
	return !tags;
}

static void duet_flow_sweep(struct work_struct *work)
{
	struct duet_flows *flows = container_of(to_delayed_work(work),
						struct duet_flows, sweep);
	u32 at, way, now;

	for (at = 0; at <= flows->mask; at++) {
		struct duet_flow_bucket *bucket = &flows->buckets[at];

		if (!(at & 255))
			cond_resched();
		if (duet_flow_none(bucket))
			continue;
		now = jiffies;
		for (way = 0; way < DUET_FLOW_WAYS; way++) {
			const struct duet_flow *flow;

			flow = &flows->flows[at * DUET_FLOW_WAYS + way];
			if (!READ_ONCE(bucket->tag[way]) ||
			    !duet_flow_idle(flows, flow, now))
				continue;
			spin_lock_bh(&bucket->lock);
			if (bucket->tag[way] && duet_flow_idle(flows, flow, now)) {
				WRITE_ONCE(bucket->tag[way], 0);
				duet_flow_count(flows, DUET_FLOW_REMOVED);
			}
			spin_unlock_bh(&bucket->lock);
		}
	}
	duet_flow_tell_full(flows);
	schedule_delayed_work(&flows->sweep, DUET_FLOW_SWEEP);
}

static void duet_flows_timeouts(struct duet_flows *flows,
				const struct duet_flow_config *config)
{
	WRITE_ONCE(flows->rate, config->rate);
	WRITE_ONCE(flows->timeout[DUET_FLOW_NEW][0], config->timeout_new * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_NEW][1], config->timeout_new * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_OPEN][0], config->timeout_other * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_OPEN][1], config->timeout_tcp * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_CLOSING][0], config->timeout_other * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_CLOSING][1], config->timeout_fin * HZ);
}

static void duet_flows_release(struct duet_flows *flows)
{
	kvfree(flows->buckets);
	kvfree(flows->flows);
	free_percpu(flows->stats);
	kfree(flows);
}

static void duet_flows_rcu(struct rcu_head *rcu)
{
	duet_flows_release(container_of(rcu, struct duet_flows, rcu));
}

static struct duet_flows *duet_flows_new(const struct duet_flow_config *config)
{
	u32 i, n = roundup_pow_of_two(DIV_ROUND_UP(config->max, DUET_FLOW_WAYS));
	struct duet_flows *flows = kzalloc(sizeof(*flows), GFP_KERNEL_ACCOUNT);
	/* As large as is asked for: a refusal says what a stack trace would, and
	 * nobody is killed for it.
	 */
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	int cpu;

	if (!flows)
		return NULL;
	flows->buckets = kvcalloc(n, sizeof(*flows->buckets), gfp);
	flows->flows = kvcalloc(n * DUET_FLOW_WAYS, sizeof(*flows->flows), gfp);
	flows->stats = alloc_percpu_gfp(struct duet_flow_stats, GFP_KERNEL_ACCOUNT);
	if (!flows->buckets || !flows->flows || !flows->stats) {
		duet_flows_release(flows);
		return NULL;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(flows->stats, cpu)->syncp);
	for (i = 0; i < n; i++)
		spin_lock_init(&flows->buckets[i].lock);
	for (i = 0; i < n * DUET_FLOW_WAYS; i++)
		seqcount_init(&flows->flows[i].seq);
	flows->mask = n - 1;
	flows->key = get_random_u32();
	duet_flows_timeouts(flows, config);
	INIT_DELAYED_WORK(&flows->sweep, duet_flow_sweep);
	return flows;
}

void duet_flows_free(struct duet_dev *dd)
{
	struct duet_flows *flows = duet_flows_locked(dd);

	if (!flows)
		return;
	RCU_INIT_POINTER(dd->flows, NULL);
	cancel_delayed_work_sync(&flows->sweep);
	call_rcu(&flows->rcu, duet_flows_rcu);
}

int duet_flows_set(struct duet_dev *dd, const struct duet_flow_config *config,
		   struct netlink_ext_ack *extack)
{
	struct duet_flows *flows = duet_flows_locked(dd), *new;

	if (flows && config->max &&
	    roundup_pow_of_two(DIV_ROUND_UP(config->max, DUET_FLOW_WAYS)) ==
	    flows->mask + 1) {
		duet_flows_timeouts(flows, config);
		return 0;
	}
	if (!config->max) {
		duet_flows_free(dd);
		return 0;
	}
	new = duet_flows_new(config);
	if (!new) {
		NL_SET_ERR_MSG(extack, "out of memory for the flow table");
		return -ENOMEM;
	}
	duet_flows_free(dd);
	new->dd = dd;
	rcu_assign_pointer(dd->flows, new);
	schedule_delayed_work(&new->sweep, DUET_FLOW_SWEEP);
	return 0;
}

void duet_flows_sum(struct duet_dev *dd, struct duet_flow_sum *sum)
{
	struct duet_flows *flows = duet_flows_locked(dd);
	u64 removed;

	memset(sum, 0, sizeof(*sum));
	if (!flows)
		return;
	/* this first: what is removed was added before */
	removed = duet_flow_sum(flows, DUET_FLOW_REMOVED);
	sum->hits = duet_flow_sum(flows, DUET_FLOW_HIT);
	sum->added = duet_flow_sum(flows, DUET_FLOW_ADDED);
	sum->full = duet_flow_sum(flows, DUET_FLOW_FULL);
	sum->limited = duet_flow_sum(flows, DUET_FLOW_LIMITED);
	sum->used = sum->added - removed;
	sum->bytes = sizeof(*flows) + (u64)(flows->mask + 1) *
		     (sizeof(*flows->buckets) +
		      DUET_FLOW_WAYS * sizeof(*flows->flows));
}

/* duet_flow_wanted - RCU; what a dump shows and a flush forgets */
static bool duet_flow_wanted(const struct duet_dev *dd,
			     const struct duet_flow *flow,
			     const struct in6_addr *vip,
			     const struct in6_addr *dip,
			     struct in6_addr *flow_dip)
{
	const struct duet_backend *backend;
	struct in6_addr addr;

	backend = duet_backend_find(dd, flow->slot, flow->id);
	if (!backend)
		return false;
	*flow_dip = backend->tunnel->addr;
	if (dip && !ipv6_addr_equal(dip, flow_dip))
		return false;
	if (!vip)
		return true;
	duet_tuple_addr(flow->dst, flow->family, &addr);
	return ipv6_addr_equal(vip, &addr);
}

bool duet_flow_next(struct duet_dev *dd, u64 *at, const struct in6_addr *vip,
		    const struct in6_addr *dip, struct duet_flow *flow,
		    struct in6_addr *flow_dip)
{
	struct duet_flows *flows = duet_flows_locked(dd);
	u32 now = jiffies;
	bool found = false;
	unsigned int seq;
	u64 end;

	if (!flows)
		return false;
	end = (u64)(flows->mask + 1) * DUET_FLOW_WAYS;
	rcu_read_lock();
	for (; *at < end && !found; (*at)++) {
		const struct duet_flow *entry = &flows->flows[*at];

		if (!READ_ONCE(flows->buckets[*at / DUET_FLOW_WAYS].tag[*at % DUET_FLOW_WAYS]))
			continue;
		do {
			seq = read_seqcount_begin(&entry->seq);
			memcpy(flow, entry, sizeof(*flow));
		} while (read_seqcount_retry(&entry->seq, seq));
		found = !duet_flow_idle(flows, flow, now) &&
			duet_flow_wanted(dd, flow, vip, dip, flow_dip);
	}
	rcu_read_unlock();
	return found;
}

void duet_flow_flush(struct duet_dev *dd, const struct in6_addr *vip,
		     const struct in6_addr *dip)
{
	struct duet_flows *flows = duet_flows_locked(dd);
	struct in6_addr flow_dip;
	u32 at, way;

	for (at = 0; flows && at <= flows->mask; at++) {
		struct duet_flow_bucket *bucket = &flows->buckets[at];

		spin_lock_bh(&bucket->lock);
		rcu_read_lock();
		for (way = 0; way < DUET_FLOW_WAYS; way++) {
			const struct duet_flow *flow;

			flow = &flows->flows[at * DUET_FLOW_WAYS + way];
			if (!bucket->tag[way] ||
			    ((vip || dip) &&
			     !duet_flow_wanted(dd, flow, vip, dip, &flow_dip)))
				continue;
			WRITE_ONCE(bucket->tag[way], 0);
			duet_flow_count(flows, DUET_FLOW_REMOVED);
		}
		rcu_read_unlock();
		spin_unlock_bh(&bucket->lock);
		cond_resched();
	}
}
