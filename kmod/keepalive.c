// SPDX-License-Identifier: GPL-2.0
/*
 * The agent's keepalive. Its end takes rtnl_lock, so who holds rtnl must never
 * wait for the work. Nobody does: work that is pending or running holds a
 * reference on the netdev instead, and whoever takes it off the queue, or the work
 * at its end, puts it. A device that goes away waits for that without rtnl, in
 * netdev_run_todo().
 */
#include "keepalive.h"
#include "device.h"

#include <linux/rtnetlink.h>

/* duet_keepalive_queue - due in so many jiffies, and no earlier */
static void duet_keepalive_queue(struct duet_dev *dd, unsigned long delay)
{
	dev_hold(dd->dev);
	if (mod_delayed_work(duet_wq, &dd->keepalive.work, delay))
		dev_put(dd->dev);	/* it was queued, and held */
}

static void duet_keepalive_unqueue(struct duet_dev *dd)
{
	if (cancel_delayed_work(&dd->keepalive.work))
		dev_put(dd->dev);
}

static void duet_keepalive_end(struct work_struct *work)
{
	struct duet_dev *dd = container_of(to_delayed_work(work), struct duet_dev,
					   keepalive.work);
	struct duet_keepalive *k = &dd->keepalive;
	struct net_device *dev = dd->dev;
	u32 ms;

	rtnl_lock();
	ms = READ_ONCE(k->ms);
	/* one that came just now has queued the work again, on its own */
	if (ms && !time_before(jiffies, READ_ONCE(k->until)) &&
	    dev->reg_state == NETREG_REGISTERED && netif_running(dev)) {
		netdev_notice(dev, "no keepalive of the agent for %u ms, going down\n", ms);
		dev_close(dev);
	}
	rtnl_unlock();
	dev_put(dev);	/* dd may be gone */
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
		duet_keepalive_queue(dd, msecs_to_jiffies(ms));
	else
		duet_keepalive_unqueue(dd);
}

void duet_keepalive_stop(struct duet_dev *dd)
{
	WRITE_ONCE(dd->keepalive.ms, 0);
	duet_keepalive_unqueue(dd);
}
