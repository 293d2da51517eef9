// SPDX-License-Identifier: GPL-2.0
/*
 * A data plane in memory, with the tables' limits of a switch: for tests of
 * everything above the seam, where the module can't be loaded. Its device is a
 * plain link (ifb), so that trigger routes and BIRD are the real thing. What it holds
 * outlives the agent below run_dir, as the kernel's state would: vips/ADDRESS is
 * a VIP that is served, there before anybody is told so. Failure knobs are
 * files there too: "refuse" holds a VIP that is refused, "break" makes every
 * change fail. Without a run_dir it keeps nothing and obeys no file: a fleet of
 * 1,800 agents in one process (selftests/controller/fleet) needs no disk.
 */
#include "agent.h"

#include <net/if.h>
#include <duet/limits.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

struct sim {
	struct backend backend;
	const struct config *config;
	struct vip **vips;	/* sorted */
	unsigned int n;
	struct secret keys[DUET_KEYS];
	uint64_t generation;
	struct duet_tables used;
	json_t *tunnels;	/* address: how many DIPs of all VIPs have it */
};


static struct sim *to_sim(struct backend *b)
{
	return (struct sim *)b;
}

static void path_of(const struct sim *s, const char *name, char path[512])
{
	snprintf(path, 512, "%s/%s", s->config->run_dir, name);
}

/* write_json - whole or not at all, as a kernel's tables are */
static int write_json(const struct sim *s, const char *name, json_t *json)
{
	char path[512], temp[520];
	int ret;

	if (!s->config->run_dir) {
		json_decref(json);
		return 0;
	}
	path_of(s, name, path);
	snprintf(temp, sizeof(temp), "%s.new", path);
	ret = json_dump_file(json, temp, JSON_COMPACT) || chmod(temp, 0600) || rename(temp, path) ? -EIO : 0;
	if (ret)
		log_err("can't write %s", path);
	json_decref(json);
	return ret;
}

static int save_settings(struct sim *s)
{
	json_t *json = json_pack("{s:I}", "generation", (json_int_t)s->generation);
	char text[KEY_TEXT];
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++)
		if (!key_is_none(&s->keys[i]))
			json_object_set_new(json, key_names[i], json_string(key_text(&s->keys[i], text)));
	return write_json(s, "sim.json", json);
}

static void file_of(const struct addr *addr, char name[64])
{
	char text[ADDR_STRLEN];

	snprintf(name, 64, "vips/%s", addr_str(addr, text));
}

static int save_vip(struct sim *s, const struct vip *vip)
{
	char name[64];

	if (!s->config->run_dir)
		return 0;
	file_of(&vip->addr, name);
	return write_json(s, name, vip_to_json(vip, false));
}

static void remove_vip(struct sim *s, const struct addr *addr)
{
	char name[64], path[512];

	if (!s->config->run_dir)
		return;
	file_of(addr, name);
	path_of(s, name, path);
	unlink(path);
}

/* account - tables' use with one VIP more, or less */
static void account(struct sim *s, const struct vip *vip, int sign)
{
	unsigned int r, d;
	char text[ADDR_STRLEN];

	s->used.vips += sign;
	for (r = 0; r < vip->n_rules; r++) {
		s->used.rules += sign * (vip->rules[r].proto || vip->rules[r].port);
		s->used.members += sign * (int)vip->rules[r].n_dips;
		for (d = 0; d < vip->rules[r].n_dips; d++) {
			json_int_t n = sign;

			addr_str(&vip->rules[r].dips[d].addr, text);
			n += json_integer_value(json_object_get(s->tunnels, text));
			if (n)
				json_object_set_new(s->tunnels, text, json_integer(n));
			else
				json_object_del(s->tunnels, text);
		}
	}
	s->used.tunnels = json_object_size(s->tunnels);
}

static int vip_cmp(const void *a, const void *b)
{
	return addr_cmp(&(*(struct vip *const *)a)->addr, &(*(struct vip *const *)b)->addr);
}

static int load(struct sim *s, struct err *e)
{
	char path[512], file[800];
	struct dirent *entry;
	struct vip **more;
	unsigned int i;
	json_t *json;
	int ret = 0;
	DIR *dir;

	path_of(s, "sim.json", path);
	json = json_load_file(path, 0, NULL);
	for (i = 0; i < DUET_KEYS && !ret; i++)
		ret = key_from_json(json, key_names[i], false, &s->keys[i], e);
	s->generation = json_integer_value(json_object_get(json, "generation"));
	json_decref(json);
	if (ret)
		return ret;
	path_of(s, "vips", path);
	mkdir(path, 0755);
	dir = opendir(path);
	if (!dir)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	while (!ret && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strstr(entry->d_name, ".new"))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		more = realloc(s->vips, (s->n + 1) * sizeof(struct vip *));
		if (!more) {
			ret = err_set(e, -ENOMEM, "no memory");
			break;
		}
		s->vips = more;
		json = json_load_file(file, 0, NULL);
		ret = vip_from_json(json, &s->vips[s->n], e);
		json_decref(json);
		if (!ret)
			account(s, s->vips[s->n++], 1);
	}
	closedir(dir);
	if (s->n)
		qsort(s->vips, s->n, sizeof(struct vip *), vip_cmp);
	return ret;
}

static int sim_ensure(struct backend *b, struct rt *rt, bool *remade, struct err *e)
{
	return rt_link_ensure(rt, to_sim(b)->config->device, "ifb", remade, e);
}

static int sim_open(const struct config *config, struct backend **out, struct err *e)
{
	struct sim *s;
	int ret = 0;

	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->backend.ops = &backend_sim;
	s->config = config;
	s->tunnels = json_object();
	if (config->run_dir)
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
	json_object_clear(s->tunnels);
	memset(&s->used, 0, sizeof(s->used));
}

static void sim_close(struct backend *b)
{
	sim_clear(to_sim(b));
	json_decref(to_sim(b)->tunnels);
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

static int sim_device(struct backend *b, struct duet_dev *dev, struct err *e)
{
	struct sim *s = to_sim(b);

	memset(dev, 0, sizeof(*dev));
	snprintf(dev->name, sizeof(dev->name), "%s", s->config->device);
	dev->mode = s->config->mode;
	memcpy(dev->keys, s->keys, sizeof(dev->keys));
	dev->local4 = s->config->local;
	dev->generation = s->generation;
	limits_of(s->config, &dev->limits);
	dev->local6 = s->config->local6;
	dev->link = s->config->link ? if_nametoindex(s->config->link) : 0;
	dev->mark = s->config->fwmark;
	dev->tos = s->config->tos;
	dev->spread4 = s->config->spread;
	dev->used = s->used;
	return 0;
}

static int sim_keys(struct backend *b, const struct secret keys[DUET_KEYS], struct err *e)
{
	struct sim *s = to_sim(b);
	unsigned int i;

	for (i = 0; i < s->n; i++)
		if (!key_equal(&s->keys[s->vips[i]->policy.key], &keys[s->vips[i]->policy.key]))
			return err_set(e, -EBUSY, "a key can't change while VIPs use it");
	memcpy(s->keys, keys, sizeof(s->keys));
	return save_settings(s) ? err_set(e, -EIO, "the simulated mux can't store its keys") : 0;
}

static int sim_dump(struct backend *b, struct vip ***vips, unsigned int *n, struct err *e)
{
	struct sim *s = to_sim(b);
	struct vip **list = calloc(s->n + 1, sizeof(struct vip *));

	*n = 0;
	for (; list && *n < s->n; (*n)++) {
		struct vip *vip = s->vips[*n];

		/* tables are made once: only another VIP in its place has others */
		if (!vip->rules[0].buckets && vip_digests(vip))
			goto err;
		list[*n] = vip_dup(vip);
		if (!list[*n])
			goto err;
	}
	*vips = list;
	if (list)
		return 0;

err:
	while (list && *n)
		vip_free(list[--*n]);
	free(list);
	return err_set(e, -ENOMEM, "no memory");
}

static int sim_flush(struct backend *b, struct err *e)
{
	struct sim *s = to_sim(b);

	for (unsigned int i = 0; i < s->n; i++)
		remove_vip(s, &s->vips[i]->addr);
	sim_clear(s);
	s->generation++;
	save_settings(s);
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
	FILE *f = NULL;

	path_of(s, "refuse", path);
	if (s->config->run_dir)
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
	unsigned int low = 0, high = s->n;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (addr_cmp(&s->vips[mid]->addr, addr) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*there = low < s->n && !addr_cmp(&s->vips[low]->addr, addr);
	return low;
}

static bool full(const struct sim *s)
{
	struct duet_tables limits;

	limits_of(s->config, &limits);
	return (limits.vips && s->used.vips > limits.vips) || (limits.rules && s->used.rules > limits.rules) ||
	       (limits.members && s->used.members > limits.members) || (limits.tunnels && s->used.tunnels > limits.tunnels);
}

static int vip_set(struct sim *s, struct duet_op *op)
{
	struct vip *copy, **more;
	unsigned int i;
	bool there;

	if (knob_refuses(s, op->vip))
		return refuse(op, -ENOMEM, "refused, as the file says");
	copy = vip_dup(op->vip);
	more = realloc(s->vips, (s->n + 1) * sizeof(struct vip *));
	if (more)
		s->vips = more;
	if (!copy || !more) {
		vip_free(copy);
		return refuse(op, -ENOMEM, "no memory");
	}
	i = place_of(s, &copy->addr, &there);
	if (there)
		account(s, s->vips[i], -1);
	account(s, copy, 1);
	if (full(s) || save_vip(s, copy)) {
		refuse(op, full(s) ? -ENOSPC : -EIO, full(s) ? "a table is full" : "can't be written");
		account(s, copy, -1);
		if (there)
			account(s, s->vips[i], 1);
		vip_free(copy);
		return 0;
	}
	if (there) {
		vip_free(s->vips[i]);
	} else {
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
	remove_vip(s, &op->addr);
	account(s, s->vips[i], -1);
	vip_free(s->vips[i]);
	s->n--;
	memmove(&s->vips[i], &s->vips[i + 1], (s->n - i) * sizeof(struct vip *));
	s->generation++;
	return 0;
}

static int sim_apply(struct backend *b, struct duet_op *ops, unsigned int n, struct err *e)
{
	char path[512];

	path_of(to_sim(b), "break", path);
	if (to_sim(b)->config->run_dir && !access(path, F_OK))
		return err_set(e, -EIO, "the simulated mux is broken, as the file says");
	for (unsigned int i = 0; i < n; i++) {
		ops[i].result = 0;
		if (ops[i].op == DUET_OP_VIP_SET)
			vip_set(to_sim(b), &ops[i]);
		else if (ops[i].op == DUET_OP_VIP_DEL)
			vip_del(to_sim(b), &ops[i]);
		else
			refuse(&ops[i], -EOPNOTSUPP, "the simulated mux takes whole VIPs only");
	}
	save_settings(to_sim(b));
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
	.keys = sim_keys,
	.dump = sim_dump,
	.flush = sim_flush,
	.apply = sim_apply,
	.events_fd = sim_events_fd,
	.events = sim_events,
};
