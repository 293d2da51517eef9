/* SPDX-License-Identifier: GPL-2.0 */
/* Counters: 64-bit, per CPU, no shared cache line written per packet. */
#ifndef DUET_STATS_H
#define DUET_STATS_H

#include <linux/percpu.h>
#include <linux/u64_stats_sync.h>

struct duet_stats {
	u64_stats_t packets;
	u64_stats_t bytes;
	struct u64_stats_sync syncp;
};

struct duet_stats_sum {
	u64 packets;
	u64 bytes;
};

/* softirq or BH off */
static inline void duet_stats_add(struct duet_stats *stats, unsigned int len)
{
	u64_stats_update_begin(&stats->syncp);
	u64_stats_inc(&stats->packets);
	u64_stats_add(&stats->bytes, len);
	u64_stats_update_end(&stats->syncp);
}

static inline void duet_stats_init(struct duet_stats __percpu *stats)
{
	int cpu;

	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(stats, cpu)->syncp);
}

/* adds to *sum */
static inline void duet_stats_read(const struct duet_stats __percpu *stats,
				   struct duet_stats_sum *sum)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct duet_stats *s = per_cpu_ptr(stats, cpu);
		unsigned int start;
		u64 packets, bytes;

		do {
			start = u64_stats_fetch_begin(&s->syncp);
			packets = u64_stats_read(&s->packets);
			bytes = u64_stats_read(&s->bytes);
		} while (u64_stats_fetch_retry(&s->syncp, start));
		sum->packets += packets;
		sum->bytes += bytes;
	}
}

#endif
