// SPDX-License-Identifier: GPL-2.0
/*
 * SNAT: tells the programs in bpf/snat.bpf.c which ports outgoing connections may
 * have and which buckets of the VIP's table are this DIP's, hooks them to sockets
 * (links on the root cgroup) and to the interfaces that targets are behind.
 * What an agent before left attached goes on until the state has come; then it is
 * replaced in one step.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <duet/table.h>
#include "bpf/snat.h"
#include "log.h"
#include "snat.h"
#include "snat.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define CGROUP "/sys/fs/cgroup"

enum link_id { LINK_CONNECT4, LINK_CONNECT6, LINK_RELEASE, __LINKS };
static const char *const link_names[__LINKS] = { "link-connect4", "link-connect6", "link-release" };
static const enum bpf_attach_type link_types[__LINKS] = {
	BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET_SOCK_RELEASE,
};
static const char *const count_names[__SNAT_COUNTS] = { "picked", "taken", "exhausted" };

struct snat {
	sd_event *loop;
	struct checks *checks;
	const char *pin;		/* borrowed */
	struct snat_bpf *skel;		/* NULL until there is a need */
	struct ring_buffer *ring;
	sd_event_source *ring_io;
	int links[__LINKS];		/* -1: not attached by this process */
	unsigned int *ifindexes, n_ifindexes;
	uint32_t next_table;
	bool forwards;			/* the kernel can translate what is forwarded */
	bool used;
};

int snat_start(sd_event *loop, struct checks *checks, const char *pin, struct snat **out)
{
	struct snat *s = calloc(1, sizeof(*s));
	unsigned int i;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->checks = checks;
	s->pin = pin;
	for (i = 0; i < __LINKS; i++)
		s->links[i] = -1;
	*out = s;
	return 0;
}

void snat_stop(struct snat *s)
{
	unsigned int i;

	if (!s)
		return;
	sd_event_source_disable_unref(s->ring_io);
	ring_buffer__free(s->ring);
	for (i = 0; i < __LINKS; i++)
		if (s->links[i] >= 0)
			close(s->links[i]);
	snat_bpf__destroy(s->skel);
	free(s->ifindexes);
	free(s);
}

static int on_closed(void *ctx, void *data, size_t size)
{
	*(bool *)ctx = true;
	return 0;
}

static int on_ring(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct snat *s = ctx;

	s->used = true;
	ring_buffer__consume(s->ring);
	checks_hurry(s->checks);
	return 0;
}

/* load - the programs, once a process; without the one for forwarded packets if the kernel can't have that */
static int load(struct snat *s, struct err *e)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	uint32_t zero = 0;
	int ret = -1, fd, tries;

	if (s->skel)
		return 0;
	for (tries = 0; tries < 2 && ret; tries++) {
		s->skel = snat_bpf__open();
		if (!s->skel)
			return err_set(e, -errno, "the SNAT program can't be read: %s", strerror(errno));
		if (tries)
			bpf_program__set_autoload(s->skel->progs.duet_snat, false);
		ret = snat_bpf__load(s->skel);
		if (ret) {
			snat_bpf__destroy(s->skel);
			s->skel = NULL;
		}
	}
	if (ret)
		return err_set(e, ret, "the kernel refuses the SNAT programs: %s", strerror(-ret));
	s->forwards = tries == 1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) ||
	    bpf_map_update_elem(bpf_map__fd(s->skel->maps.snat_ns), &zero, &cookie, BPF_ANY)) {
		ret = err_set(e, -errno, "the network namespace has no name: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	close(fd);
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.closed), on_closed, &s->used, NULL);
	if (!s->ring || sd_event_add_io(s->loop, &s->ring_io, ring_buffer__epoll_fd(s->ring), EPOLLIN, on_ring, s) < 0)
		return err_set(e, -ENOMEM, "no memory for events of sockets");
	return 0;
}

/* root_cgroup - a folder fd of the one that all sockets are in. Where cgroup2 isn't
 * mounted in sight, it is for us alone, in no folder.
 */
static int root_cgroup(void)
{
	int fd = open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fs;
	struct statfs st;

	if (fd >= 0 && !fstatfs(fd, &st) && st.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	fs = fsopen("cgroup2", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	fd = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) ? -1 : fsmount(fs, FSMOUNT_CLOEXEC, 0);
	fd = fd < 0 ? -errno : fd;
	close(fs);
	return fd;
}

static struct bpf_program *link_prog(const struct snat *s, enum link_id id)
{
	switch (id) {
	case LINK_CONNECT4: return s->skel->progs.duet_connect4;
	case LINK_CONNECT6: return s->skel->progs.duet_connect6;
	default: return s->skel->progs.duet_release;
	}
}

/* hook_sockets - one program to the sockets of the machine; an older one of ours is replaced in one step */
static int hook_sockets(struct snat *s, enum link_id id, struct err *e)
{
	int prog = bpf_program__fd(link_prog(s, id)), cgroup;
	char path[512];

	if (s->links[id] >= 0)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", s->pin, link_names[id]);
	s->links[id] = bpf_obj_get(path);
	if (s->links[id] >= 0) {
		if (!bpf_link_update(s->links[id], prog, NULL))
			return 0;
		close(s->links[id]);
		unlink(path);
	}
	cgroup = root_cgroup();
	if (cgroup < 0)
		return err_set(e, cgroup, "no cgroup2 of all sockets: %s", strerror(-cgroup));
	s->links[id] = bpf_link_create(prog, cgroup, link_types[id], NULL);
	close(cgroup);
	if (s->links[id] < 0)
		return err_set(e, -errno, "the program of sockets can't be attached to the root cgroup: %s", strerror(errno));
	/* unpinned, it ends with this process: sockets that are bound stay so */
	if (bpf_obj_pin(s->links[id], path))
		log_debug("%s: not pinned: %s", path, strerror(errno));
	return 0;
}

static void unhook_sockets(struct snat *s, enum link_id id)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", s->pin, link_names[id]);
	unlink(path);
	if (s->links[id] >= 0)
		close(s->links[id]);
	s->links[id] = -1;
}

/* behind - the interface that a target is behind; 0: none known */
static unsigned int behind(const struct addr *target)
{
	struct rtnl_route *route = NULL;
	struct nl_sock *sk = nl_socket_alloc();
	unsigned int ifindex = 0;
	struct nl_addr *dst;
	const void *raw;
	size_t len;

	raw = addr_raw(target, &len);
	dst = nl_addr_build(len == 4 ? AF_INET : AF_INET6, raw, len);
	if (sk && dst && !nl_connect(sk, NETLINK_ROUTE) && !rtnl_route_lookup(sk, dst, &route) &&
	    rtnl_route_get_type(route) == RTN_UNICAST && rtnl_route_get_nnexthops(route))
		ifindex = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
	rtnl_route_put(route);
	nl_addr_put(dst);
	nl_socket_free(sk);
	return ifindex;
}

/* ours_of - [0]: buckets, [1 + b]: is bucket b of the rule's table this DIP's? malloc'd; base: as if all were up */
static uint32_t *ours_of(const struct vip_rule *rule, const struct addr *dip, bool base_only)
{
	uint32_t n = rule->n_dips, buckets = duet_table_buckets(n), i;
	struct duet_dip *dips = calloc(n, sizeof(*dips));
	struct duet_walk *walk = calloc(n, sizeof(*walk));
	uint16_t *base = calloc(buckets + 1, sizeof(*base)), *table = calloc(buckets + 1, sizeof(*table));
	uint32_t *ours = calloc(buckets + 1, sizeof(*ours));
	bool ok = dips && walk && base && table && ours;

	for (i = 0; ok && i < n; i++) {
		memcpy(dips[i].addr, &rule->dips[i].addr, sizeof(dips[i].addr));
		dips[i].weight = rule->dips[i].weight;
		dips[i].down = !base_only && rule->dips[i].state != DUET_DIP_UP;
	}
	ok = ok && !duet_table_fill(dips, n, walk, base, buckets);
	if (ok) {
		ours[0] = buckets;
		if (duet_table_down(dips, n, base, table, buckets))
			for (i = 0; i < buckets; i++)
				ours[1 + i] = !addr_cmp(&rule->dips[table[i]].addr, dip);
	} else {
		free(ours);
		ours = NULL;
	}
	free(dips);
	free(walk);
	free(base);
	free(table);
	return ours;
}

/* table_make - which buckets of a rule's table are this DIP's, as map `id` */
static int table_make(struct snat *s, const struct vip_rule *rule, const struct addr *dip, uint32_t id, struct err *e)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t *ours = ours_of(rule, dip, false), n = ours ? ours[0] + 1 : 0, i;
	uint32_t *keys = calloc(n + 1, sizeof(*keys));
	int ret = 0, fd = -1;

	if (!ours || !keys) {
		ret = err_set(e, -ENOMEM, "a rule's table can't be built: no memory");
		goto out;
	}
	for (i = 0; i < n; i++)
		keys[i] = i;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "snat_table", sizeof(*keys), sizeof(*ours), n, &opts);
	if (fd < 0 || bpf_map_update_batch(fd, keys, ours, &n, NULL) ||
	    bpf_map_update_elem(bpf_map__fd(s->skel->maps.snat_tables), &id, &fd, BPF_ANY))
		ret = err_set(e, -errno, "SNAT table: %s", strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	free(ours);
	free(keys);
	return ret;
}

/* rule_of - the rule that muxes take for this port (uapi/linux/duet.h), and the last port for which that is so */
static const struct vip_rule *rule_of(const struct vip *vip, uint8_t proto, unsigned int port, unsigned int *last)
{
	const struct vip_rule *of_proto = NULL, *any = NULL;
	unsigned int i;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *r = &vip->rules[i];

		if (r->proto && r->proto != proto)
			continue;
		if (!r->port) {
			*(r->proto ? &of_proto : &any) = r;
		} else if (port >= r->port && port <= r->port_last) {
			if (*last > r->port_last)
				*last = r->port_last;
			return r;
		} else if (port < r->port && *last >= r->port) {
			*last = r->port - 1;
		}
	}
	return of_proto ?: any;
}

/* source_add - the ports of one range, cut where muxes take another rule */
static int source_add(struct snat *s, struct snat_source *source, const struct pair_def *p, const struct snat_def *def,
		      uint8_t proto, struct err *e)
{
	struct addr dip = to_addr(&p->key.dip);
	unsigned int first = def->first, last;
	int ret;

	for (; first <= def->last; first = last + 1) {
		const struct vip_rule *rule;

		last = def->last;
		rule = rule_of(p->rules, proto, first, &last);
		if (!rule)
			continue;
		if (source->ranges == SNAT_RANGES)
			return err_set(e, -E2BIG, "more than %u SNAT ranges of one VIP (protocols and rules cut them)", SNAT_RANGES);
		ret = table_make(s, rule, &dip, ++s->next_table, e);
		if (ret)
			return ret;
		source->range[source->ranges++] = (struct snat_range){
			.first = first, .last = last, .proto = proto, .fields = rule->fields, .table = s->next_table };
	}
	return 0;
}

static int source_make(struct snat *s, const struct desired *d, const struct pair_def *p, struct snat_source *source,
		       struct err *e)
{
	struct addr vip = to_addr(&p->key.vip);
	unsigned int i;
	int ret = 0;

	memset(source, 0, sizeof(*source));
	source->vip = p->key.vip;
	source->seed = d->seed;
	for (i = 0; i < d->n_snat && !ret; i++) {
		if (addr_cmp(&d->snat[i].vip, &vip))
			continue;
		ret = source_add(s, source, p, &d->snat[i], IPPROTO_TCP, e);
		if (!ret)
			ret = source_add(s, source, p, &d->snat[i], IPPROTO_UDP, e);
	}
	return ret;
}

static int client_set(struct snat *s, const struct decap_addr *client, const struct snat_source *source, struct err *e)
{
	if (bpf_map_update_elem(bpf_map__fd(s->skel->maps.clients), client, source, BPF_ANY))
		return err_set(e, -errno, "SNAT clients: %s", strerror(errno));
	return 0;
}

/* keep - remove from a map the keys that aren't among these */
static void keep(int map, const void *keys, unsigned int n, size_t size)
{
	char key[32], next[32];
	void *last = NULL;
	unsigned int i;

	while (!bpf_map_get_next_key(map, last, next)) {
		for (i = 0; i < n && memcmp((const char *)keys + i * size, next, size); i++)
			;
		if (i == n) {
			bpf_map_delete_elem(map, next);
			continue;	/* from the same place: `last` is still there */
		}
		memcpy(key, next, size);
		last = key;
	}
}

static int excepts_set(struct snat *s, const struct desired *d, struct err *e)
{
	struct decap_prefix *keys = calloc(d->n_excepts + 1, sizeof(*keys));
	int map = bpf_map__fd(s->skel->maps.excepts), ret = 0;
	uint32_t one = 1;
	unsigned int i;

	if (!keys)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < d->n_excepts && !ret; i++) {
		keys[i].len = d->excepts[i].len + (addr_is_v4(&d->excepts[i].addr) ? 96 : 0);
		keys[i].addr = of_addr(&d->excepts[i].addr);
		if (bpf_map_update_elem(map, &keys[i], &one, BPF_ANY))
			ret = err_set(e, -errno, "SNAT exceptions: %s", strerror(errno));
	}
	if (!ret)
		keep(map, keys, d->n_excepts, sizeof(*keys));
	free(keys);
	return ret;
}

/* hook_interfaces - packets of targets are seen where they come in; others are let go */
static int hook_interfaces(struct snat *s, const unsigned int *ifindexes, unsigned int n, struct err *e)
{
	unsigned int i, k, *list = calloc(n + 1, sizeof(*list));
	int ret = 0;

	if (!list)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n && !ret; i++) {
		ret = hook_attach(ifindexes[i], HOOK_SNAT, bpf_program__fd(s->skel->progs.duet_snat), e);
		list[i] = ifindexes[i];
	}
	for (k = 0; k < s->n_ifindexes; k++) {
		for (i = 0; i < n && ifindexes[i] != s->ifindexes[k]; i++)
			;
		if (i == n)
			hook_detach(s->ifindexes[k], HOOK_SNAT);
	}
	free(s->ifindexes);
	s->ifindexes = list;
	s->n_ifindexes = n;
	return ret;
}

/* What one pass over the pairs gathers. */
struct gathered {
	struct decap_addr *clients;
	unsigned int *ifindexes, n_clients, n_ifindexes;
	bool sockets4, sockets6;
};

static void gather_interface(struct gathered *g, unsigned int ifindex)
{
	unsigned int i;

	for (i = 0; i < g->n_ifindexes && g->ifindexes[i] != ifindex; i++)
		;
	if (ifindex && i == g->n_ifindexes)
		g->ifindexes[g->n_ifindexes++] = ifindex;
}

/* gather_pair - the sockets of the host, or its targets, get their source */
static int gather_pair(struct snat *s, const struct pair_def *p, const struct snat_source *source, struct gathered *g,
		       struct err *e)
{
	struct addr vip = to_addr(&p->key.vip);
	bool v4 = addr_is_v4(&vip);
	struct decap_addr client;
	unsigned int t;
	int ret = 0;

	for (t = 0; t < (p->n_locals ?: 1) && !ret; t++) {
		if (!p->n_locals || host_has(&p->locals[t].address)) {
			client = (struct decap_addr){ .w = { 0, 0, 0, v4 ? 4 : 6 } };
			*(v4 ? &g->sockets4 : &g->sockets6) = true;
		} else {
			if (!s->forwards)
				return err_set(e, -EOPNOTSUPP, "this kernel can't translate what targets open (conntrack without BPF: 6.1 with BTF of its modules has it)");
			client = of_addr(&p->locals[t].address);
			gather_interface(g, behind(&p->locals[t].address));
		}
		ret = client_set(s, &client, source, e);
		g->clients[g->n_clients++] = client;
	}
	return ret;
}

/* end_lost - connections that the present set of DIPs sends to others */
static void end_lost(const struct desired *d)
{
	struct flow_table *tables = calloc(d->n_snat * SNAT_RANGES + 1, sizeof(*tables));
	unsigned int i, k, first, last, n = 0;

	for (i = 0; tables && i < d->n_pairs; i++) {
		const struct pair_def *p = &d->pairs[i];
		struct addr vip = to_addr(&p->key.vip), dip = to_addr(&p->key.dip);

		for (k = 0; p->rules && k < d->n_snat; k++) {
			if (addr_cmp(&d->snat[k].vip, &vip))
				continue;
			for (first = d->snat[k].first; first <= d->snat[k].last && n < d->n_snat * SNAT_RANGES; first = last + 1) {
				const struct vip_rule *rule;

				last = d->snat[k].last;
				rule = rule_of(p->rules, IPPROTO_TCP, first, &last);
				if (!rule)
					continue;
				tables[n] = (struct flow_table){ vip, first, last, rule->fields, ours_of(rule, &dip, true) };
				n += tables[n].ours != NULL;
			}
		}
	}
	if (n)
		flows_end(d, tables, n);
	for (i = 0; i < n; i++)
		free(tables[i].ours);
	free(tables);
}

static void tables_keep(struct snat *s, uint32_t above)
{
	int map = bpf_map__fd(s->skel->maps.snat_tables);
	uint32_t *keys = NULL, key, n = 0, i;
	void *last = NULL;

	keys = calloc(SNAT_TABLES, sizeof(*keys));
	while (keys && n < SNAT_TABLES && !bpf_map_get_next_key(map, last, &keys[n])) {
		key = keys[n++];
		last = &key;
	}
	for (i = 0; i < n; i++)
		if (keys[i] <= above)
			bpf_map_delete_elem(map, &keys[i]);
	free(keys);
}

static bool wants_release(const struct desired *d)
{
	unsigned int i;

	for (i = 0; i < d->n_checks; i++)
		if (d->checks[i].port)
			return true;
	return false;
}

static int apply(struct snat *s, const struct desired *d, struct gathered *g, struct err *e)
{
	struct snat_source source;
	unsigned int i;
	int ret;

	ret = excepts_set(s, d, e);
	for (i = 0; i < d->n_pairs && !ret; i++) {
		ret = d->pairs[i].rules ? source_make(s, d, &d->pairs[i], &source, e) : 0;
		if (!ret && d->pairs[i].rules && source.vip.w[3] && d->pairs[i].snats)
			ret = gather_pair(s, &d->pairs[i], &source, g, e);
	}
	if (!ret)
		ret = hook_interfaces(s, g->ifindexes, g->n_ifindexes, e);
	if (!ret && g->sockets4)
		ret = hook_sockets(s, LINK_CONNECT4, e);
	if (!ret && (g->sockets4 || g->sockets6))	/* to IPv4 from sockets of both families, too */
		ret = hook_sockets(s, LINK_CONNECT6, e);
	return ret;
}

int snat_apply(struct snat *s, const struct desired *d, struct err *e)
{
	bool any = d->n_snat, release = wants_release(d);
	struct gathered g = {};
	uint32_t before;
	int ret = 0;

	if (!any || !release) {
		if (!any) {
			unhook_sockets(s, LINK_CONNECT4);
			unhook_sockets(s, LINK_CONNECT6);
		}
		if (!release)
			unhook_sockets(s, LINK_RELEASE);
		if (!any && s->skel) {
			hook_interfaces(s, NULL, 0, e);
			keep(bpf_map__fd(s->skel->maps.clients), NULL, 0, sizeof(struct decap_addr));
		}
	}
	if (!any && !release)
		return 0;
	ret = load(s, e);
	if (!ret && release)
		ret = hook_sockets(s, LINK_RELEASE, e);
	if (ret && !any) {
		/* only speed is lost: services are asked after at their intervals */
		log_notice("the end of a service is not seen at once: %s", e->text);
		return 0;
	}
	if (ret || !any)
		return ret;
	before = s->next_table;
	g.clients = calloc(d->n_locals + d->n_pairs + 1, sizeof(*g.clients));
	g.ifindexes = calloc(d->n_locals + 1, sizeof(*g.ifindexes));
	ret = g.clients && g.ifindexes ? apply(s, d, &g, e) : err_set(e, -ENOMEM, "no memory");
	if (!ret) {
		keep(bpf_map__fd(s->skel->maps.clients), g.clients, g.n_clients, sizeof(*g.clients));
		tables_keep(s, before);
		end_lost(d);
	}
	free(g.clients);
	free(g.ifindexes);
	return ret;
}

void snat_unlink(const char *pin)
{
	pin_remove(pin, link_names, __LINKS);
}

int snat_count(const struct snat *s, unsigned int what, uint64_t *n)
{
	int cpus = libbpf_num_possible_cpus(), i;
	uint64_t *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));
	uint32_t key = what;

	*n = 0;
	if (!each)
		return -ENOMEM;
	if (s->skel && !bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.snat_counts), &key, each))
		for (i = 0; i < cpus; i++)
			*n += each[i];
	free(each);
	return 0;
}

json_t *snat_json(const struct snat *s)
{
	json_t *j = json_pack("{s:b, s:b}", "sockets", s->links[LINK_CONNECT6] >= 0, "forwarded", s->n_ifindexes > 0);
	unsigned int i;
	uint64_t n;

	for (i = 0; i < __SNAT_COUNTS; i++) {
		snat_count(s, i, &n);
		json_object_set_new(j, count_names[i], json_integer(n));
	}
	return j;
}
