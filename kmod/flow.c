// SPDX-License-Identifier: GPL-2.0
/*
 * The flow table: see flow.h.
 *
 * A bucket's tags fill one cache line with its lock, and lookup reads that
 * line and the one entry. Entries that are idle are free for others at once;
 * the sweep makes the tags say so.
 */
#include "flow.h"
#include "guest.h"
#include "netlink.h"

#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <net/ipv6.h>

/* The sweep sees DUET_FLOW_SLICE buckets or a 32nd of the table each time: all
 * of it in eight seconds, and of one of the default size in one.
 */
#define DUET_FLOW_SWEEP		(HZ / 4)
#define DUET_FLOW_SLICE		4096

/* Packets of a flow write its entry once in so long. */
#define DUET_FLOW_TOUCH		(HZ / 4)
/* After a FIN its sender still acknowledges: only what comes later than this
 * shows that the flow lives on.
 */
#define DUET_FLOW_AFTER_FIN	(2 * HZ)
/* of a bucket's ways, that new flows can have where others are only closed, and
 * where others are kept
 */
#define DUET_FLOW_SHARE_CLOSED	(DUET_FLOW_WAYS / 2)
#define DUET_FLOW_SHARE_KEPT	2

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

static u32 duet_flow_silent(const struct duet_flow *flow, u32 now)
{
	s32 silent = now - READ_ONCE(flow->used);

	/* another CPU's jiffies may be younger than what was read before */
	return max(silent, 0);
}

/* duet_flow_timeout - a kept flow that is closing stays as long as if it were not:
 * its end may be forged
 */
static u32 duet_flow_timeout(const struct duet_flows *flows,
			     const struct duet_flow *flow)
{
	u8 state = READ_ONCE(flow->state);

	if (state == DUET_FLOW_CLOSING && READ_ONCE(flow->rank))
		state = DUET_FLOW_KEPT;
	return READ_ONCE(flows->timeout[state][flow->proto == IPPROTO_TCP]);
}

static bool duet_flow_idle(const struct duet_flows *flows,
			   const struct duet_flow *flow, u32 now)
{
	return duet_flow_silent(flow, now) > duet_flow_timeout(flows, flow);
}

/* duet_flow_closed - it is over, for all one can see */
static bool duet_flow_closed(const struct duet_flows *flows,
			     const struct duet_flow *flow, u32 now)
{
	return READ_ONCE(flow->state) == DUET_FLOW_CLOSING &&
	       duet_flow_silent(flow, now) > READ_ONCE(flows->closed);
}

/* duet_flow_age - from which a packet raises a flow of this rank */
static u32 duet_flow_age(u8 rank)
{
	return DUET_FLOW_TRIAL << 2 * rank;
}

/* duet_flow_weak - a kept flow that has been silent for too long for its rank */
static bool duet_flow_weak(const struct duet_flows *flows,
			   const struct duet_flow *flow, u32 now)
{
	u32 patience = max_t(u32, duet_flow_age(flow->rank + 1), DUET_FLOW_PATIENCE);

	patience = min(patience, duet_flow_timeout(flows, flow) / 4);
	return duet_flow_silent(flow, now) > patience;
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

/* duet_flow_note - a packet of the flow that may change its entry */
static noinline void duet_flow_note(struct duet_flow_bucket *bucket,
				    struct duet_flow *flow,
				    const struct duet_tuple *t, u32 now)
{
	u8 state, rank;

	spin_lock(&bucket->lock);
	state = flow->state;
	rank = flow->rank;
	if (!duet_flow_is(flow, t))
		goto unlock;	/* another took its place */
	if (t->flags & DUET_T_SYN) {
		/* a retry: the flow isn't the first to go, no more */
		if (state == DUET_FLOW_NEW)
			WRITE_ONCE(flow->used, now);
		goto unlock;
	}
	if (t->flags & DUET_T_END) {
		if (state == DUET_FLOW_CLOSING)
			goto unlock;
		state = DUET_FLOW_CLOSING;
	} else if (state == DUET_FLOW_CLOSING) {
		if (duet_flow_silent(flow, now) <= DUET_FLOW_AFTER_FIN)
			goto unlock;
		state = rank ? DUET_FLOW_KEPT : DUET_FLOW_OPEN;
	} else {
		if (rank < DUET_FLOW_RANK_MAX &&
		    now - flow->born >= duet_flow_age(rank))
			rank++;
		state = rank ? DUET_FLOW_KEPT : DUET_FLOW_OPEN;
	}
	WRITE_ONCE(flow->used, now);
	WRITE_ONCE(flow->rank, rank);
	WRITE_ONCE(flow->state, state);
unlock:
	spin_unlock(&bucket->lock);
}

/* duet_flow_touch - a packet of the flow went by. Written only if it changes
 * something: packets of a flow may come on several CPUs.
 */
static void duet_flow_touch(struct duet_flow_bucket *bucket,
			    struct duet_flow *flow,
			    const struct duet_tuple *t, u32 now)
{
	if (unlikely(READ_ONCE(flow->state) != DUET_FLOW_KEPT ||
		     now - READ_ONCE(flow->used) > DUET_FLOW_TOUCH ||
		     t->flags & (DUET_T_SYN | DUET_T_END)))
		duet_flow_note(bucket, flow, t, now);
}

/* duet_flow_state - of the backend as the rule has it */
static u8 duet_flow_state(const struct duet_rule *rule,
			  const struct duet_backend *backend)
{
	if (likely(!backend->lineup))
		return READ_ONCE(backend->state);
	return rcu_dereference(rule->set)->dips[backend->at].down;
}

/* duet_flow_fits - is the backend the rule's, by itself or in a shared lineup */
static bool duet_flow_fits(const struct duet_rule *rule,
			   const struct duet_backend *backend)
{
	if (!backend)
		return false;
	return backend->lineup ? backend->lineup == rule->lineup :
				 backend->rule == rule->id;
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
		write_seqcount_begin(&bucket->seq);
		flow->slot = backend->slot;
		flow->id = backend->id;
		write_seqcount_end(&bucket->seq);
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
			seq = read_seqcount_begin(&bucket->seq);
			is = duet_flow_is(flow, t);
			slot = flow->slot;
			id = flow->id;
		} while (read_seqcount_retry(&bucket->seq, seq));
		if (unlikely(!is) || duet_flow_idle(flows, flow, now))
			continue;
		if (unlikely(t->flags & DUET_T_SYN) &&
		    duet_flow_closed(flows, flow, now))
			return NULL;
		backend = duet_backend_find(dd, slot, id);
		if (unlikely(!duet_flow_fits(rule, backend)))
			backend = duet_flow_adopt(bucket, flow, rule, t, touch);
		if (unlikely(!backend ||
			     duet_flow_state(rule, backend) == DUET_DIP_DOWN))
			return NULL;
		if (touch) {
			duet_flow_touch(bucket, flow, t, now);
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

/* What was found for a new flow. */
enum duet_flow_room {
	DUET_ROOM_NONE,
	DUET_ROOM_OWN,		/* the flow has an entry */
	DUET_ROOM_FREE,		/* nobody's, or of one that is over */
	DUET_ROOM_TAKEN,	/* of a flow that is alive */
};

/* The ways of a bucket that others could have; -1: none. */
struct duet_flow_ways {
	int free, closed, weak, tried;
	unsigned int n_tried;
};

static void duet_flow_weigh(const struct duet_flows *flows, u32 at, int way,
			    u32 now, struct duet_flow_ways *ways)
{
	const struct duet_flow *first = &flows->flows[at * DUET_FLOW_WAYS];
	const struct duet_flow *flow = &first[way];
	u32 silent = duet_flow_silent(flow, now);

	if (!flow->rank) {
		ways->n_tried++;
		if (ways->tried < 0 ||
		    silent > duet_flow_silent(&first[ways->tried], now))
			ways->tried = way;
	} else if (duet_flow_closed(flows, flow, now)) {
		if (ways->closed < 0 ||
		    silent > duet_flow_silent(&first[ways->closed], now))
			ways->closed = way;
	} else if (duet_flow_weak(flows, flow, now)) {
		const struct duet_flow *weak = &first[max(ways->weak, 0)];

		if (ways->weak < 0 || flow->rank < weak->rank ||
		    (flow->rank == weak->rank &&
		     silent > duet_flow_silent(weak, now)))
			ways->weak = way;
	}
}

/* duet_flow_way - the way for a new flow, as flow.h has it. Bucket locked. */
static enum duet_flow_room duet_flow_way(const struct duet_flows *flows, u32 at,
					 u32 tag, const struct duet_tuple *t,
					 u32 now, int *found)
{
	const struct duet_flow_bucket *bucket = &flows->buckets[at];
	struct duet_flow_ways ways = { -1, -1, -1, -1 };
	const struct duet_flow *flow;
	int way;

	for (way = 0; way < DUET_FLOW_WAYS; way++) {
		flow = &flows->flows[at * DUET_FLOW_WAYS + way];
		*found = way;
		if (bucket->tag[way] == tag && duet_flow_is(flow, t))
			return DUET_ROOM_OWN;
		if (!bucket->tag[way])
			ways.free = way;
		else if (!duet_flow_idle(flows, flow, now))
			duet_flow_weigh(flows, at, way, now, &ways);
		else if (ways.free < 0)
			ways.free = way;
	}
	*found = ways.free;
	if (ways.free >= 0)
		return DUET_ROOM_FREE;
	*found = ways.closed;
	if (ways.closed >= 0 &&
	    (ways.n_tried < DUET_FLOW_SHARE_CLOSED || ways.tried < 0))
		return DUET_ROOM_FREE;
	*found = ways.weak >= 0 && ways.n_tried < DUET_FLOW_SHARE_KEPT ?
		 ways.weak : ways.tried;
	return *found < 0 ? DUET_ROOM_NONE : DUET_ROOM_TAKEN;
}

/* duet_flow_begin - the entry is this flow's, which is new. Bucket locked. */
static void duet_flow_begin(struct duet_flow *flow, const struct duet_tuple *t,
			    u32 now)
{
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
	flow->born = now;
	WRITE_ONCE(flow->rank, 0);
	/* RST of a connection nobody knows: no need to remember it for long */
	WRITE_ONCE(flow->state, t->flags & DUET_T_END ? DUET_FLOW_CLOSING :
							DUET_FLOW_NEW);
}

void duet_flow_bind(struct duet_flows *flows, const struct duet_tuple *t,
		    u32 hash, const struct duet_backend *backend)
{
	u32 tag = hash | 1, now = jiffies;
	u32 at = hash >> 1 & flows->mask;
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	enum duet_flow_room room;
	struct duet_flow *flow;
	bool was_used;
	int way;

	if (unlikely(!duet_flow_allowed(flows))) {
		duet_flow_count(flows, DUET_FLOW_LIMITED);
		return;
	}
	spin_lock(&bucket->lock);
	room = duet_flow_way(flows, at, tag, t, now, &way);
	if (unlikely(room == DUET_ROOM_NONE)) {
		spin_unlock(&bucket->lock);
		duet_flow_count(flows, DUET_FLOW_FULL);
		return;
	}
	flow = &flows->flows[at * DUET_FLOW_WAYS + way];
	was_used = bucket->tag[way];
	write_seqcount_begin(&bucket->seq);
	/* a flow that has lost its DIP keeps its rank */
	if (room != DUET_ROOM_OWN || duet_flow_idle(flows, flow, now) ||
	    (t->flags & DUET_T_SYN && duet_flow_closed(flows, flow, now)))
		duet_flow_begin(flow, t, now);
	flow->slot = backend->slot;
	flow->id = backend->id;
	flow->tunnel = backend->tunnel->id;
	WRITE_ONCE(flow->used, now);
	write_seqcount_end(&bucket->seq);
	WRITE_ONCE(bucket->tag[way], tag);
	spin_unlock(&bucket->lock);

	if (room == DUET_ROOM_OWN)
		return;
	duet_flow_count(flows, DUET_FLOW_ADDED);
	if (was_used)
		duet_flow_count(flows, DUET_FLOW_REMOVED);
	if (room == DUET_ROOM_TAKEN)
		duet_flow_count(flows, DUET_FLOW_FULL);
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

	if ((u32)jiffies - flows->told < HZ)
		return;
	flows->told = jiffies;
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

static void duet_flow_sweep_bucket(struct duet_flows *flows, u32 at)
{
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	const struct duet_flow *flow;
	u32 way, now = jiffies;

	for (way = 0; way < DUET_FLOW_WAYS; way++) {
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

static void duet_flow_sweep(struct work_struct *work)
{
	struct duet_flows *flows = container_of(to_delayed_work(work),
						struct duet_flows, sweep);
	u32 n = min(flows->mask + 1,
		    max_t(u32, DUET_FLOW_SLICE, (flows->mask + 1) / 32));
	bool empty = duet_flow_sum(flows, DUET_FLOW_REMOVED) ==
		     duet_flow_sum(flows, DUET_FLOW_ADDED);

	for (; n && !empty; n--, flows->swept = (flows->swept + 1) & flows->mask) {
		if (!(n & 255))
			cond_resched();
		if (!duet_flow_none(&flows->buckets[flows->swept]))
			duet_flow_sweep_bucket(flows, flows->swept);
	}
	duet_flow_tell_full(flows);
	queue_delayed_work(duet_wq, &flows->sweep, empty ? HZ : DUET_FLOW_SWEEP);
}

static void duet_flows_configure(struct duet_flows *flows,
				 const struct duet_flow_config *config)
{
	WRITE_ONCE(flows->rate, config->rate);
	WRITE_ONCE(flows->timeout[DUET_FLOW_NEW][0], config->timeout_new * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_NEW][1], config->timeout_new * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_OPEN][0], config->timeout_other * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_OPEN][1], config->timeout_tcp * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_KEPT][0], config->timeout_other * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_KEPT][1], config->timeout_tcp * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_CLOSING][0], config->timeout_other * HZ);
	WRITE_ONCE(flows->timeout[DUET_FLOW_CLOSING][1], config->timeout_fin * HZ);
	WRITE_ONCE(flows->closed, config->timeout_fin * HZ);
}

/* duet_flows_bytes - of a table of n buckets */
static u64 duet_flows_bytes(u64 n)
{
	return sizeof(struct duet_flows) + n * (sizeof(struct duet_flow_bucket) +
	       DUET_FLOW_WAYS * sizeof(struct duet_flow));
}

static void duet_flows_release(struct duet_flows *flows)
{
	duet_account_late(flows->guest, duet_flows_bytes(flows->mask + 1));
	kvfree(flows->buckets);
	kvfree(flows->flows);
	free_percpu(flows->stats);
	kfree(flows);
}

void duet_flows_discard(struct duet_net *dn, struct duet_flows *flows)
{
	if (!flows)
		return;
	duet_account_early(dn, duet_flows_bytes(flows->mask + 1));
	duet_flows_release(flows);
}

/* Freeing a large table takes a while: not what an RCU callback should do. */
static void duet_flows_rcu(struct work_struct *work)
{
	duet_flows_release(container_of(to_rcu_work(work), struct duet_flows, rcu));
}

static u32 duet_flows_buckets(u32 max)
{
	return roundup_pow_of_two(DIV_ROUND_UP(max, DUET_FLOW_WAYS));
}

bool duet_flows_is(const struct duet_flows *flows, u32 max)
{
	return max && flows ? duet_flows_buckets(max) == flows->mask + 1 :
			      !max && !flows;
}

struct duet_flows *duet_flows_new(struct duet_net *dn, u32 max,
				  struct netlink_ext_ack *extack)
{
	/* As large as is asked for: a refusal says what a stack trace would, and
	 * nobody is killed for it.
	 */
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	struct duet_flows *flows;
	u32 i, n = duet_flows_buckets(max);
	int cpu, ret;

	duet_account(dn, duet_flows_bytes(n));
	ret = duet_guest_check(dn, extack);
	if (ret)
		goto err_account;
	ret = -ENOMEM;
	flows = kzalloc(sizeof(*flows), GFP_KERNEL_ACCOUNT);
	if (!flows)
		goto err_nomem;
	flows->mask = n - 1;
	flows->guest = dn->guest;
	flows->buckets = kvcalloc(n, sizeof(*flows->buckets), gfp);
	flows->flows = kvcalloc(n * DUET_FLOW_WAYS, sizeof(*flows->flows), gfp);
	flows->stats = alloc_percpu_gfp(struct duet_flow_stats, GFP_KERNEL_ACCOUNT);
	if (!flows->buckets || !flows->flows || !flows->stats) {
		NL_SET_ERR_MSG(extack, "out of memory for the flow table");
		duet_flows_discard(dn, flows);
		return ERR_PTR(ret);
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(flows->stats, cpu)->syncp);
	for (i = 0; i < n; i++) {
		struct duet_flow_bucket *bucket = &flows->buckets[i];

		if (!(i & 1023))
			cond_resched();
		spin_lock_init(&bucket->lock);
		seqcount_spinlock_init(&bucket->seq, &bucket->lock);
	}
	flows->key = get_random_u32();
	INIT_DELAYED_WORK(&flows->sweep, duet_flow_sweep);
	INIT_RCU_WORK(&flows->rcu, duet_flows_rcu);
	return flows;

err_nomem:
	NL_SET_ERR_MSG(extack, "out of memory for the flow table");
err_account:
	duet_account(dn, -(long)duet_flows_bytes(n));
	return ERR_PTR(ret);
}

void duet_flows_free(struct duet_dev *dd)
{
	struct duet_flows *flows = duet_flows_locked(dd);

	if (!flows)
		return;
	RCU_INIT_POINTER(dd->flows, NULL);
	cancel_delayed_work_sync(&flows->sweep);
	duet_account_early(duet_pernet(dd->net), duet_flows_bytes(flows->mask + 1));
	queue_rcu_work(duet_wq, &flows->rcu);
}

void duet_flows_set(struct duet_dev *dd, const struct duet_flow_config *config,
		    struct duet_flows *new)
{
	if (new || !config->max)
		duet_flows_free(dd);
	if (!new) {
		if (config->max)
			duet_flows_configure(duet_flows_locked(dd), config);
		return;
	}
	duet_flows_configure(new, config);
	new->dd = dd;
	rcu_assign_pointer(dd->flows, new);
	queue_delayed_work(duet_wq, &new->sweep, DUET_FLOW_SWEEP);
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
	sum->bytes = duet_flows_bytes((u64)flows->mask + 1);
}

/* duet_flow_wanted - RCU; what a dump shows and a flush forgets */
static bool duet_flow_wanted(const struct duet_dev *dd,
			     const struct duet_flow *flow,
			     const struct duet_flow_filter *filter,
			     struct in6_addr *flow_dip)
{
	const struct duet_backend *backend;
	struct in6_addr addr;

	backend = duet_backend_find(dd, flow->slot, flow->id);
	if (!backend)
		return false;
	*flow_dip = backend->tunnel->addr;
	if (filter->dip && !ipv6_addr_equal(filter->dip, flow_dip))
		return false;
	if (!filter->vip)
		return true;
	duet_tuple_addr(flow->dst, flow->family, &addr);
	return ipv6_addr_equal(filter->vip, &addr);
}

enum duet_flow_step duet_flow_next(struct duet_dev *dd, u64 *at,
				   const struct duet_flow_filter *filter,
				   struct duet_flow *flow,
				   struct in6_addr *flow_dip)
{
	struct duet_flows *flows = duet_flows_locked(dd);
	u64 all, end = *at + DUET_FLOW_STEP * DUET_FLOW_WAYS;
	u32 now = jiffies;
	bool found = false;
	unsigned int seq;

	if (!flows)
		return DUET_FLOW_LAST;
	all = (u64)(flows->mask + 1) * DUET_FLOW_WAYS;
	end = min(end, all);
	rcu_read_lock();
	for (; *at < end && !found; (*at)++) {
		const struct duet_flow *entry = &flows->flows[*at];
		struct duet_flow_bucket *bucket = &flows->buckets[*at / DUET_FLOW_WAYS];

		if (!READ_ONCE(bucket->tag[*at % DUET_FLOW_WAYS]))
			continue;
		do {
			seq = read_seqcount_begin(&bucket->seq);
			memcpy(flow, entry, sizeof(*flow));
		} while (read_seqcount_retry(&bucket->seq, seq));
		found = !duet_flow_idle(flows, flow, now) &&
			duet_flow_wanted(dd, flow, filter, flow_dip);
	}
	rcu_read_unlock();
	if (found)
		return DUET_FLOW_FOUND;
	return *at < all ? DUET_FLOW_MORE : DUET_FLOW_LAST;
}

static void duet_flow_flush_bucket(const struct duet_dev *dd,
				   struct duet_flows *flows, u32 at,
				   const struct duet_flow_filter *filter)
{
	struct duet_flow_bucket *bucket = &flows->buckets[at];
	bool any = !filter->vip && !filter->dip;
	const struct duet_flow *flow;
	struct in6_addr flow_dip;
	u32 way;

	spin_lock_bh(&bucket->lock);
	for (way = 0; way < DUET_FLOW_WAYS; way++) {
		flow = &flows->flows[at * DUET_FLOW_WAYS + way];
		if (!bucket->tag[way] ||
		    (!any && !duet_flow_wanted(dd, flow, filter, &flow_dip)))
			continue;
		WRITE_ONCE(bucket->tag[way], 0);
		duet_flow_count(flows, DUET_FLOW_REMOVED);
	}
	spin_unlock_bh(&bucket->lock);
}

enum duet_flow_step duet_flow_flush(struct duet_dev *dd, u64 *at,
				    const struct duet_flow_filter *filter)
{
	struct duet_flows *flows = duet_flows_locked(dd);
	u64 end = *at + DUET_FLOW_STEP;

	if (!flows)
		return DUET_FLOW_LAST;
	end = min_t(u64, end, (u64)flows->mask + 1);
	rcu_read_lock();
	for (; *at < end; (*at)++)
		if (!duet_flow_none(&flows->buckets[*at]))
			duet_flow_flush_bucket(dd, flows, *at, filter);
	rcu_read_unlock();
	return *at <= flows->mask ? DUET_FLOW_MORE : DUET_FLOW_LAST;
}
