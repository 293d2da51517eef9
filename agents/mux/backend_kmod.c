// SPDX-License-Identifier: GPL-2.0
/*
 * The module as data plane. The device is made if it isn't there and left in
 * place when the agent goes.
 */
#include "agent.h"

#include <net/if.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct port {
	char name[16];
	unsigned int index;	/* of the link it was attached as; 0: never was */
	bool attached;
	char why[sizeof(((struct err *)0)->text)];	/* not attached */
};

struct kmod {
	struct backend backend;
	const struct config *config;
	struct duet_nl *nl;	/* NULL: the module was never there */
	char dev[16];
	bool settled;		/* set up since it was made: a difference is somebody else's */
	struct port *ports;
	unsigned int n_ports;
};

static struct kmod *to_kmod(struct backend *b)
{
	return (struct kmod *)b;
}

static int ports_read(struct kmod *k, struct err *e)
{
	char *list = strdup(k->config->ports), *at = list, *word;
	struct port *more;
	int ret = list ? 0 : -ENOMEM;

	while (!ret && (word = strsep(&at, " \t,"))) {
		if (!*word)
			continue;
		more = realloc(k->ports, (k->n_ports + 1) * sizeof(*more));
		if (!more) {
			ret = -ENOMEM;
			break;
		}
		k->ports = more;
		more[k->n_ports] = (struct port){};
		snprintf(more[k->n_ports++].name, sizeof(more->name), "%s", word);
	}
	free(list);
	return ret ? err_set(e, ret, "no memory") : 0;
}

static struct port *port_find(struct kmod *k, const char *name)
{
	for (unsigned int i = 0; i < k->n_ports; i++)
		if (!strcmp(k->ports[i].name, name))
			return &k->ports[i];
	return NULL;
}

static void port_lost(struct port *p, const char *why)
{
	p->attached = false;
	if (!strcmp(p->why, why))
		return;
	snprintf(p->why, sizeof(p->why), "%s", why);
	log_warn("port %s takes no packets: %s", p->name, why);
}

/* port_attach - a link made again under the old name is another link, and nobody's decision: it is attached in any case */
static void port_attach(struct kmod *k, struct rt *rt, struct port *p)
{
	struct rt_link link;
	struct err why;

	if (rt_link_get(rt, p->name, &link, &why)) {
		p->index = 0;
		port_lost(p, "there is no such link");
		return;
	}
	if (k->settled && k->config->drift_report && p->index == link.index) {
		port_lost(p, "somebody else detached it, and it is left so (drift = report)");
		return;
	}
	if (duet_nl_port(k->nl, k->dev, p->name, true, &why)) {
		port_lost(p, why.text);
		return;
	}
	log_notice("port %s is attached", p->name);
	p->index = link.index;
	p->attached = true;
	p->why[0] = '\0';
}

/* ports_set - attach what is configured and isn't, detach what isn't configured. A port that isn't there is no error:
 * it may come later, and the others work.
 */
static void ports_set(struct kmod *k, struct rt *rt, const struct duet_dev *now)
{
	struct err why;
	struct port *p;
	unsigned int i;

	for (p = k->ports; p < k->ports + k->n_ports; p++)
		p->attached = false;
	for (i = 0; i < now->n_ports; i++) {
		p = port_find(k, now->ports[i].name);
		if (p) {
			p->attached = true;
			p->index = now->ports[i].ifindex;
			p->why[0] = '\0';
		} else if (!k->settled || !k->config->drift_report) {
			log_warn("port %s isn't configured: it is detached", now->ports[i].name);
			if (duet_nl_port(k->nl, k->dev, now->ports[i].name, false, &why))
				log_warn("port %s can't be detached: %s", now->ports[i].name, why.text);
		}
	}
	for (p = k->ports; p < k->ports + k->n_ports; p++)
		if (!p->attached)
			port_attach(k, rt, p);
}

/* settings - what of the device isn't as configured, DUET_SET_*; their values in *set */
static unsigned int settings(const struct config *config, const struct duet_dev *now, struct duet_dev *set)
{
	unsigned int what = 0;

	*set = (struct duet_dev){ .mode = config->mode, .local4 = config->local, .local6 = config->local6, .limits = now->limits };
	if (addr_cmp(&now->local4, &config->local))
		what |= DUET_SET_LOCAL4;
	if (addr_cmp(&now->local6, &config->local6))
		what |= DUET_SET_LOCAL6;
	set->link = config->link ? if_nametoindex(config->link) : 0;
	if (now->link != set->link)
		what |= DUET_SET_LINK;
	set->mark = config->fwmark;
	if (now->mark != set->mark)
		what |= DUET_SET_MARK;
	set->tos = config->tos;
	if (now->tos != set->tos)
		what |= DUET_SET_TOS;
	set->spread4 = config->spread;
	if (now->spread4 != set->spread4)
		what |= DUET_SET_SPREAD;
	if (config->max_vips)
		set->limits.vips = config->max_vips;
	if (config->max_rules)
		set->limits.rules = config->max_rules;
	if (config->max_members)
		set->limits.members = config->max_members;
	if (config->max_tunnels)
		set->limits.tunnels = config->max_tunnels;
	if (memcmp(&set->limits, &now->limits, sizeof(now->limits)))
		what |= DUET_SET_LIMITS;
	return what;
}

static int configure(struct kmod *k, struct rt *rt, struct err *e)
{
	unsigned int what;
	struct duet_dev now, set;
	int ret = duet_nl_dev_get(k->nl, k->dev, &now, e);

	if (ret)
		return ret;
	if (now.mode != k->config->mode) {
		/* only an empty mux can change; one that serves VIPs was another's */
		set.mode = k->config->mode;
		ret = duet_nl_dev_set(k->nl, k->dev, DUET_SET_MODE, &set, e);
		if (ret)
			goto out;
		duet_dev_release(&now);
		ret = duet_nl_dev_get(k->nl, k->dev, &now, e);
		if (ret)
			return ret;
	}
	/* without it, tunnels would go by another routing table */
	if (k->config->link && !if_nametoindex(k->config->link)) {
		ret = err_set(e, -ENODEV, "[device] link: no network device %s here, so the tunnels have no way", k->config->link);
		goto out;
	}
	what = settings(k->config, &now, &set);
	if (what && k->settled)
		log_warn("settings of %s were changed by somebody else%s", k->dev, k->config->drift_report ? ", and are left so" : "");
	if (what && !(k->settled && k->config->drift_report))
		ret = duet_nl_dev_set(k->nl, k->dev, what, &set, e);
	if (ret)
		goto out;
	ports_set(k, rt, &now);
	k->settled = true;
out:
	duet_dev_release(&now);
	return ret;
}

static int kmod_ensure(struct backend *b, struct rt *rt, bool *remade, struct err *e)
{
	struct kmod *k = to_kmod(b);
	int ret = rt_link_ensure(rt, k->dev, "duet", remade, e);

	if (ret)
		return ret;
	if (*remade) {
		log_info("made %s", k->dev);
		k->settled = false;
	}
	if (!k->nl)
		ret = duet_nl_open(&k->nl, e);
	if (!ret)
		ret = configure(k, rt, e);
	if (ret != -ENOENT || !k->nl)
		return ret;
	ret = duet_nl_again(k->nl, e);
	if (ret)
		return ret;
	log_notice("the module was loaded again");
	return configure(k, rt, e);
}

static int kmod_open(const struct config *config, struct backend **out, struct err *e)
{
	struct kmod *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	k->backend.ops = &backend_kmod;
	k->config = config;
	snprintf(k->dev, sizeof(k->dev), "%s", config->device);
	ret = ports_read(k, e);
	if (ret) {
		free(k->ports);
		free(k);
		return ret;
	}
	*out = &k->backend;
	return 0;
}

static void kmod_close(struct backend *b)
{
	duet_nl_close(to_kmod(b)->nl);
	free(to_kmod(b)->ports);
	free(b);
}

static bool kmod_port(struct backend *b, const char *name, const char **why)
{
	const struct port *p = port_find(to_kmod(b), name);

	*why = p && p->why[0] ? p->why : NULL;
	return p && p->attached;
}

/* kmod_nl - NULL: the module was never there */
static struct duet_nl *kmod_nl(struct backend *b, struct err *e)
{
	if (!to_kmod(b)->nl)
		err_set(e, -ENODEV, "the kernel module duet isn't loaded");
	return to_kmod(b)->nl;
}

static int kmod_device(struct backend *b, struct duet_dev *dev, struct err *e)
{
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_dev_get(nl, to_kmod(b)->dev, dev, e) : -ENODEV;
}

static int kmod_keys(struct backend *b, const struct secret keys[DUET_KEYS], struct err *e)
{
	struct duet_dev set = { .keys = { keys[0], keys[1] } };
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_dev_set(nl, to_kmod(b)->dev, DUET_SET_KEY | DUET_SET_KEY1, &set, e) : -ENODEV;
}

static int kmod_keepalive(struct backend *b, unsigned int ms, struct err *e)
{
	struct duet_dev set = { .keepalive_ms = ms };
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_dev_set(nl, to_kmod(b)->dev, DUET_SET_KEEPALIVE, &set, e) : -ENODEV;
}

static int kmod_dump(struct backend *b, struct vip ***vips, unsigned int *n, struct err *e)
{
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_vip_dump(nl, to_kmod(b)->dev, vips, n, NULL, e) : -ENODEV;
}

static int kmod_flush(struct backend *b, struct err *e)
{
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_vip_flush(nl, to_kmod(b)->dev, e) : -ENODEV;
}

static int kmod_apply(struct backend *b, struct duet_op *ops, unsigned int n, struct err *e)
{
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_batch(nl, to_kmod(b)->dev, ops, n, e) : -ENODEV;
}

static int kmod_events_fd(struct backend *b, struct err *e)
{
	struct duet_nl *nl = kmod_nl(b, e);

	return nl ? duet_nl_events_fd(nl, e) : -ENODEV;
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
	.keys = kmod_keys,
	.keepalive = kmod_keepalive,
	.dump = kmod_dump,
	.flush = kmod_flush,
	.apply = kmod_apply,
	.port = kmod_port,
	.events_fd = kmod_events_fd,
	.events = kmod_events,
};
