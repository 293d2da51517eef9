// SPDX-License-Identifier: GPL-2.0
/*
 * A data plane in memory, with the tables' limits of a switch: for tests of
 * everything above the seam, where the module can't be loaded. Its device is a
 * plain link (ifb), so that trigger routes and BIRD are the real thing. What it holds
 * outlives the agent in a file below run_dir, as the kernel's state would.
 * Failure knobs are files there too: "refuse" holds a VIP that is refused.
 */
#include "agent.h"

#include <duet/limits.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct sim {
	struct backend backend;
	const struct config *config;
	struct vip **vips;	/* sorted */
	unsigned int n;
	uint32_t seed;
	uint64_t generation;
};

static struct sim *to_sim(struct backend *b)
{
	return (struct sim *)b;
}

static void path_of(const struct sim *s, const char *name, char path[512])
{
	snprintf(path, 512, "%s/%s", s->config->run_dir, name);
}

static void save(struct sim *s)
{
	json_t *vips = json_array();
	char path[512];

	for (unsigned int i = 0; i < s->n; i++)
		json_array_append_new(vips, vip_to_json(s->vips[i], false));
	path_of(s, "sim.json", path);
	vips = json_pack("{s:I, s:I, s:o}", "seed", (json_int_t)s->seed, "generation", (json_int_t)s->generation, "vips", vips);
	if (json_dump_file(vips, path, JSON_COMPACT))
		log_err("can't write %s", path);
	json_decref(vips);
}

static int load(struct sim *s, struct err *e)
{
	json_t *json, *vip;
	char path[512];
	int ret = 0;
	size_t i;

	path_of(s, "sim.json", path);
	json = json_load_file(path, 0, NULL);
	if (!json)
		return 0;
	s->seed = json_integer_value(json_object_get(json, "seed"));
	s->generation = json_integer_value(json_object_get(json, "generation"));
	s->vips = calloc(json_array_size(json_object_get(json, "vips")) + 1, sizeof(struct vip *));
	json_array_foreach(json_object_get(json, "vips"), i, vip) {
		ret = vip_from_json(vip, &s->vips[s->n], e);
		if (ret)
			break;
		s->n++;
	}
	json_decref(json);
	return ret;
}

static int sim_ensure(struct backend *b, struct rt *rt, bool *remade, struct err *e)
{
	return rt_link_ensure(rt, to_sim(b)->config->device, "ifb", remade, e);
}

static int sim_open(const struct config *config, struct backend **out, struct err *e)
{
	struct sim *s;
	struct rt *rt;
	bool made;
	int ret;

	if (!config->run_dir)
		return err_set(e, -EINVAL, "[device] backend=sim needs a run_dir to keep its tables in");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->backend.ops = &backend_sim;
	s->config = config;
	ret = rt_open(&rt, e);
	if (!ret) {
		ret = sim_ensure(&s->backend, rt, &made, e);
		rt_close(rt);
	}
	if (!ret)
		ret = load(s, e);
	if (ret) {
		free(s);
		return ret;
	}
	*out = &s->backend;
	return 0;
}

static void sim_clear(struct sim *s)
{
	while (s->n)
		vip_free(s->vips[--s->n]);
	free(s->vips);
	s->vips = NULL;
}

static void sim_close(struct backend *b)
{
	sim_clear(to_sim(b));
	free(b);
}

static void limits_of(const struct config *c, struct duet_tables *t)
{
	memset(t, 0, sizeof(*t));
	if (c->mode == DUET_MODE_HMUX)
		*t = (struct duet_tables){ DUET_PAPER_VIPS, DUET_PAPER_RULES, DUET_PAPER_MEMBERS, DUET_PAPER_TUNNELS };
	if (c->max_vips)
		t->vips = c->max_vips;
	if (c->max_rules)
		t->rules = c->max_rules;
	if (c->max_members)
		t->members = c->max_members;
	if (c->max_tunnels)
		t->tunnels = c->max_tunnels;
}

static int tunnel_cmp(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

/* used_by - tables' use if `instead` took the place of the VIP with its address */
static int used_by(const struct sim *s, const struct vip *instead, struct duet_tables *used)
{
	unsigned int i, r, d, n = 0, room = 0;
	struct addr *tunnels = NULL, *more;

	memset(used, 0, sizeof(*used));
	for (i = 0; i < s->n + !!instead; i++) {
		const struct vip *vip = i < s->n ? s->vips[i] : instead;

		if (instead && vip != instead && !addr_cmp(&vip->addr, &instead->addr))
			continue;
		used->vips++;
		for (r = 0; r < vip->n_rules; r++) {
			used->rules += vip->rules[r].proto || vip->rules[r].port;
			used->members += vip->rules[r].n_dips;
			for (d = 0; d < vip->rules[r].n_dips; d++) {
				if (n == room) {
					room = room ? 2 * room : 256;
					more = realloc(tunnels, room * sizeof(*tunnels));
					if (!more) {
						free(tunnels);
						return -ENOMEM;
					}
					tunnels = more;
				}
				tunnels[n++] = vip->rules[r].dips[d].addr;
			}
		}
	}
	if (n)
		qsort(tunnels, n, sizeof(*tunnels), tunnel_cmp);
	for (i = 0; i < n; i++)
		used->tunnels += !i || addr_cmp(&tunnels[i - 1], &tunnels[i]);
	free(tunnels);
	return 0;
}

static int sim_device(struct backend *b, struct duet_dev *dev, struct err *e)
{
	struct sim *s = to_sim(b);

	memset(dev, 0, sizeof(*dev));
	snprintf(dev->name, sizeof(dev->name), "%s", s->config->device);
	dev->mode = s->config->mode;
	dev->seed = s->seed;
	dev->local4 = s->config->local;
	dev->generation = s->generation;
	limits_of(s->config, &dev->limits);
	return used_by(s, NULL, &dev->used);
}

static int sim_seed(struct backend *b, uint32_t seed, struct err *e)
{
	struct sim *s = to_sim(b);

	if (s->seed != seed && s->n)
		return err_set(e, -EBUSY, "seed can't change while the mux has VIPs");
	s->seed = seed;
	save(s);
	return 0;
}

static int sim_dump(struct backend *b, struct vip ***vips, unsigned int *n, struct err *e)
{
	struct sim *s = to_sim(b);
	struct vip **list = calloc(s->n + 1, sizeof(struct vip *));

	*n = 0;
	for (; list && *n < s->n; (*n)++) {
		list[*n] = vip_dup(s->vips[*n]);
		if (!list[*n] || vip_digests(list[*n]))
			return err_set(e, -ENOMEM, "no memory");
	}
	*vips = list;
	return list ? 0 : err_set(e, -ENOMEM, "no memory");
}

static int sim_flush(struct backend *b, struct err *e)
{
	struct sim *s = to_sim(b);

	sim_clear(s);
	s->generation++;
	save(s);
	return 0;
}

static int refuse(struct duet_op *op, int error, const char *why)
{
	op->result = error;
	snprintf(op->why, sizeof(op->why), "%s", why);
	return 0;
}

static bool knob_refuses(struct sim *s, const struct vip *vip)
{
	char path[512], text[ADDR_STRLEN], line[ADDR_STRLEN + 2] = "";
	FILE *f;

	path_of(s, "refuse", path);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f))
		line[strcspn(line, "\n")] = '\0';
	fclose(f);
	return !strcmp(line, addr_str(&vip->addr, text));
}

static unsigned int place_of(const struct sim *s, const struct addr *addr, bool *there)
{
	unsigned int i;

	for (i = 0; i < s->n && addr_cmp(&s->vips[i]->addr, addr) < 0; i++)
		;
	*there = i < s->n && !addr_cmp(&s->vips[i]->addr, addr);
	return i;
}

static int vip_set(struct sim *s, struct duet_op *op)
{
	struct duet_tables used, limits;
	struct vip *copy, **more;
	unsigned int i;
	bool there;

	if (knob_refuses(s, op->vip))
		return refuse(op, -ENOMEM, "refused, as the file says");
	limits_of(s->config, &limits);
	if (used_by(s, op->vip, &used))
		return refuse(op, -ENOMEM, "no memory");
	if ((limits.vips && used.vips > limits.vips) || (limits.rules && used.rules > limits.rules) ||
	    (limits.members && used.members > limits.members) || (limits.tunnels && used.tunnels > limits.tunnels))
		return refuse(op, -ENOSPC, "a table is full");
	copy = vip_dup(op->vip);
	if (!copy)
		return refuse(op, -ENOMEM, "no memory");
	i = place_of(s, &copy->addr, &there);
	if (there) {
		vip_free(s->vips[i]);
	} else {
		more = realloc(s->vips, (s->n + 1) * sizeof(struct vip *));
		if (!more) {
			vip_free(copy);
			return refuse(op, -ENOMEM, "no memory");
		}
		s->vips = more;
		memmove(&more[i + 1], &more[i], (s->n - i) * sizeof(struct vip *));
		s->n++;
	}
	s->vips[i] = copy;
	s->generation++;
	return 0;
}

static int vip_del(struct sim *s, struct duet_op *op)
{
	bool there;
	unsigned int i = place_of(s, &op->addr, &there);

	if (!there)
		return refuse(op, -ENOENT, "the mux has no such VIP");
	vip_free(s->vips[i]);
	s->n--;
	memmove(&s->vips[i], &s->vips[i + 1], (s->n - i) * sizeof(struct vip *));
	s->generation++;
	return 0;
}

static int sim_apply(struct backend *b, struct duet_op *ops, unsigned int n, struct err *e)
{
	for (unsigned int i = 0; i < n; i++) {
		ops[i].result = 0;
		if (ops[i].op == DUET_OP_VIP_SET)
			vip_set(to_sim(b), &ops[i]);
		else if (ops[i].op == DUET_OP_VIP_DEL)
			vip_del(to_sim(b), &ops[i]);
		else
			refuse(&ops[i], -EOPNOTSUPP, "the simulated mux takes whole VIPs only");
	}
	save(to_sim(b));
	return 0;
}

static int sim_events_fd(struct backend *b, struct err *e)
{
	return -1;
}

static int sim_events(struct backend *b, bool *changed)
{
	return 0;
}

const struct backend_ops backend_sim = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.ensure = sim_ensure,
	.device = sim_device,
	.seed = sim_seed,
	.dump = sim_dump,
	.flush = sim_flush,
	.apply = sim_apply,
	.events_fd = sim_events_fd,
	.events = sim_events,
};
