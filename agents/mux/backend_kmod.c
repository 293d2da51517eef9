// SPDX-License-Identifier: GPL-2.0
/*
 * The module as data plane. The device is made if it isn't there and left in
 * place when the agent goes.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct kmod {
	struct backend backend;
	const struct config *config;
	struct duet_nl *nl;
	char dev[16];
};

static struct kmod *to_kmod(struct backend *b)
{
	return (struct kmod *)b;
}

/* ports_set - attach what is configured and isn't, detach what isn't configured */
static int ports_set(struct kmod *k, const struct duet_dev *now, const char *configured, struct err *e)
{
	char *list = strdup(configured), *at, *word;
	unsigned int i;
	int ret = 0;

	if (!list)
		return err_set(e, -ENOMEM, "no memory");
	for (at = list; !ret && (word = strsep(&at, " \t,"));) {
		bool attached = false;

		if (!*word)
			continue;
		for (i = 0; i < now->n_ports; i++)
			attached |= !strcmp(now->ports[i].name, word);
		if (!attached)
			ret = duet_nl_port(k->nl, k->dev, word, true, e);
	}
	for (i = 0; !ret && i < now->n_ports; i++) {
		const char *name = now->ports[i].name;
		size_t len = strlen(name);
		const char *found = configured;
		bool wanted = false;

		while ((found = strstr(found, name))) {
			wanted |= (found == configured || strchr(" \t,", found[-1])) && strchr(" \t,", found[len]);
			found += len;
		}
		if (!wanted)
			ret = duet_nl_port(k->nl, k->dev, name, false, e);
	}
	free(list);
	return ret;
}

static int configure(struct kmod *k, const struct config *config, struct err *e)
{
	struct duet_dev now, set = { .mode = config->mode, .local4 = config->local };
	unsigned int what = 0;
	int ret = duet_nl_dev_get(k->nl, k->dev, &now, e);

	if (ret)
		return ret;
	if (now.mode != config->mode) {
		/* only an empty mux can change; one that serves VIPs was another's */
		ret = duet_nl_dev_set(k->nl, k->dev, DUET_SET_MODE, &set, e);
		if (ret)
			goto out;
		duet_dev_release(&now);
		ret = duet_nl_dev_get(k->nl, k->dev, &now, e);
		if (ret)
			return ret;
	}
	if (addr_cmp(&now.local4, &config->local))
		what |= DUET_SET_LOCAL4;
	set.local6 = config->local6;
	if (addr_cmp(&now.local6, &config->local6))
		what |= DUET_SET_LOCAL6;
	set.limits = now.limits;
	if (config->max_vips)
		set.limits.vips = config->max_vips;
	if (config->max_rules)
		set.limits.rules = config->max_rules;
	if (config->max_members)
		set.limits.members = config->max_members;
	if (config->max_tunnels)
		set.limits.tunnels = config->max_tunnels;
	if (memcmp(&set.limits, &now.limits, sizeof(now.limits)))
		what |= DUET_SET_LIMITS;
	ret = what ? duet_nl_dev_set(k->nl, k->dev, what, &set, e) : 0;
	if (!ret)
		ret = ports_set(k, &now, config->ports, e);
out:
	duet_dev_release(&now);
	return ret;
}

static int kmod_ensure(struct backend *b, struct rt *rt, bool *remade, struct err *e)
{
	struct kmod *k = to_kmod(b);
	int ret = rt_link_ensure(rt, k->dev, "duet", remade, e);

	if (ret || !*remade)
		return ret;
	log_info("made %s", k->dev);
	return configure(k, k->config, e);
}

static int kmod_open(const struct config *config, struct backend **out, struct err *e)
{
	struct kmod *k = calloc(1, sizeof(*k));
	struct rt *rt = NULL;
	bool made = false;
	int ret;

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	k->backend.ops = &backend_kmod;
	k->config = config;
	snprintf(k->dev, sizeof(k->dev), "%s", config->device);
	ret = rt_open(&rt, e);
	if (!ret)
		ret = duet_nl_open(&k->nl, e);
	if (!ret)
		ret = kmod_ensure(&k->backend, rt, &made, e);
	if (!ret && !made)
		ret = configure(k, config, e);
	rt_close(rt);
	if (ret) {
		duet_nl_close(k->nl);
		free(k);
		return ret;
	}
	*out = &k->backend;
	return 0;
}

static void kmod_close(struct backend *b)
{
	duet_nl_close(to_kmod(b)->nl);
	free(b);
}

static int kmod_device(struct backend *b, struct duet_dev *dev, struct err *e)
{
	return duet_nl_dev_get(to_kmod(b)->nl, to_kmod(b)->dev, dev, e);
}

static int kmod_seed(struct backend *b, uint32_t seed, struct err *e)
{
	struct duet_dev set = { .seed = seed };

	return duet_nl_dev_set(to_kmod(b)->nl, to_kmod(b)->dev, DUET_SET_SEED, &set, e);
}

static int kmod_keepalive(struct backend *b, unsigned int ms, struct err *e)
{
	struct duet_dev set = { .keepalive_ms = ms };

	return duet_nl_dev_set(to_kmod(b)->nl, to_kmod(b)->dev, DUET_SET_KEEPALIVE, &set, e);
}

static int kmod_dump(struct backend *b, struct vip ***vips, unsigned int *n, struct err *e)
{
	return duet_nl_vip_dump(to_kmod(b)->nl, to_kmod(b)->dev, vips, n, NULL, e);
}

static int kmod_flush(struct backend *b, struct err *e)
{
	return duet_nl_vip_flush(to_kmod(b)->nl, to_kmod(b)->dev, e);
}

static int kmod_apply(struct backend *b, struct duet_op *ops, unsigned int n, struct err *e)
{
	return duet_nl_batch(to_kmod(b)->nl, to_kmod(b)->dev, ops, n, e);
}

static int kmod_events_fd(struct backend *b, struct err *e)
{
	return duet_nl_events_fd(to_kmod(b)->nl, e);
}

static void on_event(const struct duet_event *ev, void *ctx)
{
	/* a full table was told in answer to us, and asking again at once would tell it again */
	if (ev->cmd != DUET_CMD_FULL_NTF && !ev->own)
		*(bool *)ctx = true;
}

static int kmod_events(struct backend *b, bool *changed)
{
	int ret = duet_nl_events_read(to_kmod(b)->nl, on_event, changed);

	if (ret == -ENOBUFS) {
		*changed = true;	/* some were lost: look at everything */
		ret = 0;
	}
	return ret;
}

const struct backend_ops backend_kmod = {
	.name = "kmod",
	.open = kmod_open,
	.close = kmod_close,
	.ensure = kmod_ensure,
	.device = kmod_device,
	.seed = kmod_seed,
	.keepalive = kmod_keepalive,
	.dump = kmod_dump,
	.flush = kmod_flush,
	.apply = kmod_apply,
	.events_fd = kmod_events_fd,
	.events = kmod_events,
};
