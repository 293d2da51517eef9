// SPDX-License-Identifier: GPL-2.0
/*
 * The agent's keepalive. Its end takes rtnl_lock, which nobody may wait for
 * who holds it and waits for the work: so the work only tries.
 */
#include "keepalive.h"
#include "device.h"

#include <linux/rtnetlink.h>

#define RETRY	msecs_to_jiffies(10)

static void duet_keepalive_end(struct work_struct *work)
{
	struct duet_dev *dd = container_of(to_delayed_work(work), struct duet_dev,
					   keepalive.work);
	struct duet_keepalive *k = &dd->keepalive;
	u32 ms = READ_ONCE(k->ms);

	if (!rtnl_trylock()) {
		queue_delayed_work(system_wq, &k->work, RETRY);
		return;
	}
	/* a word that came just now is waited for again */
	if (ms && time_before(jiffies, READ_ONCE(k->until))) {
		queue_delayed_work(system_wq, &k->work, READ_ONCE(k->until) - jiffies);
	} else if (ms && dd->dev->reg_state == NETREG_REGISTERED &&
		   netif_running(dd->dev)) {
		netdev_notice(dd->dev, "no word of the agent for %u ms, going down\n", ms);
		dev_close(dd->dev);
	}
	rtnl_unlock();
}

void duet_keepalive_init(struct duet_dev *dd)
{
	INIT_DELAYED_WORK(&dd->keepalive.work, duet_keepalive_end);
}

void duet_keepalive_set(struct duet_dev *dd, u32 ms)
{
	struct duet_keepalive *k = &dd->keepalive;

	duet_assert_locked(dd);
	WRITE_ONCE(k->until, jiffies + msecs_to_jiffies(ms));
	WRITE_ONCE(k->ms, ms);
	if (ms)
		mod_delayed_work(system_wq, &k->work, msecs_to_jiffies(ms));
	else
		cancel_delayed_work(&k->work);
}

void duet_keepalive_stop(struct duet_dev *dd)
{
	WRITE_ONCE(dd->keepalive.ms, 0);
	cancel_delayed_work_sync(&dd->keepalive.work);
}
