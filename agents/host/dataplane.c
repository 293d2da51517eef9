// SPDX-License-Identifier: GPL-2.0
/*
 * The decapsulator as a whole: loaded, attached, or taken over from the agent
 * before. An agent that starts finds its programs on the interface, takes over
 * their maps with all that is in them, and replaces a program (in one step) only
 * if it is of another text.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane.h"
#include "decap.skel.h"
#include "helper.h"
#include "log.h"

static const char *const map_names[__MAPS] = {
	"muxes", "dips", "served", "vips", "racks", "meters", "choices", "reasons", "settings",
	"meta", "locals", "health", "names", "before", "accepts", "sources", "mux_prefixes",
};

static int libbpf_says(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("%s", line);
	return 0;
}

/* check_link - frames must begin with an Ethernet header: the program counts on it */
static int check_link(struct dataplane *dp, struct err *e)
{
	struct ifreq ifr = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0)
		return err_set(e, -errno, "can't make a socket: %s", strerror(errno));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dp->interface);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		ret = err_set(e, -errno, "interface %s: %s", dp->interface, strerror(errno));
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		ret = err_set(e, -EOPNOTSUPP, "interface %s is no Ethernet device: its packets can't be decapsulated",
			      dp->interface);
	else if (!ioctl(fd, SIOCGIFMTU, &ifr))
		dp->mtu = ifr.ifr_mtu;
	close(fd);
	dp->ifindex = if_nametoindex(dp->interface);
	return ret;
}

static void maps_drop(int *maps)
{
	unsigned int i;

	for (i = 0; i < __MAPS; i++) {
		if (maps[i] >= 0)
			close(maps[i]);
		maps[i] = -1;
	}
}

/* maps_of - the maps that an attached program uses, by name; -ENOENT: they aren't ours */
static int maps_of(int prog, int *maps)
{
	struct bpf_prog_info info = {};
	uint32_t ids[32], len = sizeof(info), i, m;

	info.map_ids = (uintptr_t)ids;
	info.nr_map_ids = 32;
	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	for (i = 0; i < info.nr_map_ids && i < 32; i++) {
		struct bpf_map_info map = {};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		len = sizeof(map);
		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &map, &len)) {
			close(fd);
			continue;
		}
		for (m = 0; m < __MAPS; m++)
			if (maps[m] < 0 && !strcmp(map.name, map_names[m]))
				break;
		if (m < __MAPS)
			maps[m] = fd;
		else
			close(fd);
	}
	/* those that an older agent doesn't know begin empty */
	return maps[MAP_META] < 0 || maps[MAP_SERVED] < 0 ? -ENOENT : 0;
}

/* take_over - maps of the program that hangs on the interface; false: none of ours there */
static bool take_over(const struct dataplane *dp, int *maps)
{
	int prog = hook_get(dp->ifindex, HOOK_INGRESS), ret;

	if (prog < 0)
		return false;
	ret = maps_of(prog, maps);
	close(prog);
	if (!ret)
		return true;
	log_warn("%s: a program at the place of ours has other maps: replacing it, counters begin anew", dp->interface);
	maps_drop(maps);
	return false;
}

static struct bpf_map *skel_map(const struct decap *skel, enum map_id id)
{
	return bpf_object__find_map_by_name(skel->obj, map_names[id]);
}

/* hardware - is there a driver of hardware under it? A software device has skbs
 * already: XDP there saves nothing, and takes its peer's offloads away
 */
static bool hardware(const char *interface)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", interface);
	return !stat(path, &st);
}

/* fits - does a map of an older agent hold all that ours would, in the same form? */
static bool fits(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) && info.max_entries >= bpf_map__max_entries(map) &&
	       info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map);
}

/* load - our programs, with the maps of those before; what the kernel needn't verify it isn't given */
static struct decap *load(const int *maps, bool meter, bool xdp, struct err *e)
{
	struct decap *skel = decap__open();
	unsigned int i;
	int ret;

	if (!skel) {
		err_set(e, -errno, "the BPF program can't be read: %s", strerror(errno));
		return NULL;
	}
	skel->rodata->metering = meter;
	bpf_program__set_autoload(skel->progs.duet_decap_xdp, xdp);
	for (i = 0; i < __MAPS; i++) {
		if (maps[i] < 0 || (fits(maps[i], skel_map(skel, i)) && !bpf_map__reuse_fd(skel_map(skel, i), maps[i])))
			continue;
		log_warn("map %s of the program before doesn't fit: it begins anew", map_names[i]);
	}
	ret = decap__load(skel);
	/* the text doesn't mention the agent's memory and the other hooks' maps: bound, they are found again */
	for (i = 0; !ret && i < __MAPS; i++)
		if (bpf_prog_bind_map(bpf_program__fd(skel->progs.duet_decap), bpf_map__fd(skel_map(skel, i)), NULL) &&
		    errno != EEXIST)
			ret = -errno;
	if (ret) {
		err_set(e, ret, "the kernel refuses the BPF program (%s): BPF needs CAP_BPF and CAP_NET_ADMIN, or root",
			strerror(-ret));
		decap__destroy(skel);
		return NULL;
	}
	return skel;
}

/* same - does this hook hold the program already, text and maps? */
static bool same(unsigned int ifindex, enum hook_kind kind, const struct hook_prog *ours)
{
	int fd = hook_get(ifindex, kind);
	struct hook_prog held;
	bool yes;

	if (fd < 0)
		return false;
	yes = !hook_prog_info(fd, &held) && !memcmp(held.tag, ours->tag, sizeof(held.tag));
	close(fd);
	return yes;
}

/* hang - one program on its hook unless the same hangs there */
static int hang(struct dataplane *dp, enum hook_kind kind, struct bpf_program *prog, struct err *e)
{
	struct hook_prog ours;
	int ret, fd, old = hook_get(dp->ifindex, kind);

	if (old >= 0)
		close(old);
	ret = hook_prog_info(bpf_program__fd(prog), &ours);
	if (ret)
		return err_set(e, ret, "can't look at the loaded BPF program: %s", strerror(-ret));
	if (!dp->taken_over || !same(dp->ifindex, kind, &ours)) {
		if (old >= 0)
			dp->replaced = true;
		ret = hook_attach(dp->ifindex, kind, bpf_program__fd(prog), e);
		if (ret)
			return ret;
	}
	fd = hook_get(dp->ifindex, kind);
	if (fd < 0)
		return err_set(e, fd, "%s: %s isn't there after it was attached", dp->interface, hook_program(kind));
	dp->progs[kind] = fd;
	return 0;
}

static int hang_all(struct dataplane *dp, struct decap *skel, enum attach attach, bool xdp, struct err *e)
{
	int ret = hang(dp, HOOK_EGRESS, skel->progs.duet_egress, e);

	if (!ret)
		ret = hang(dp, HOOK_INGRESS, skel->progs.duet_decap, e);
	if (ret)
		return ret;
	if (xdp) {
		ret = hang(dp, HOOK_XDP, skel->progs.duet_decap_xdp, e);
		if (ret && attach == ATTACH_XDP)
			return ret;
		if (ret)
			snprintf(dp->xdp_why, sizeof(dp->xdp_why), "%s", e->text);
	} else {
		snprintf(dp->xdp_why, sizeof(dp->xdp_why), attach == ATTACH_TC ? "attach = tc" : "a software device");
		hook_detach(dp->ifindex, HOOK_XDP);
	}
	return 0;
}

static void pin(struct dataplane *dp, const char *dir)
{
	struct err e;
	unsigned int i;
	int ret;

	if (pin_dir(dir, &e)) {
		snprintf(dp->pin_why, sizeof(dp->pin_why), "%.250s", e.text);
		goto out;
	}
	ret = pin_one(dir, hook_program(HOOK_INGRESS), dp->progs[HOOK_INGRESS], true);
	for (i = 0; !ret && i < __MAPS; i++)
		ret = pin_one(dir, map_names[i], dp->maps[i], false);
	if (ret) {
		snprintf(dp->pin_why, sizeof(dp->pin_why), "can't pin in %.150s: %s", dir, strerror(-ret));
		goto out;
	}
	snprintf(dp->pin, sizeof(dp->pin), "%s", dir);
	return;
out:
	log_notice("not pinned: %s; the program stays attached all the same and a restart takes it over", dp->pin_why);
}

int dp_open(const char *interface, enum attach attach, bool meter, const char *pins, struct dataplane **out, struct err *e)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));
	bool xdp = attach == ATTACH_XDP || (attach == ATTACH_AUTO && hardware(interface));
	int maps[__MAPS], ret;
	struct decap *skel;
	struct hook_prog info = {};
	unsigned int i;

	if (!dp)
		return err_set(e, -ENOMEM, "no memory");
	libbpf_set_print(libbpf_says);
	for (i = 0; i < __MAPS; i++)
		maps[i] = dp->maps[i] = -1;
	for (i = 0; i < __HOOKS; i++)
		dp->progs[i] = -1;
	snprintf(dp->interface, sizeof(dp->interface), "%s", interface);
	dp->cpus = libbpf_num_possible_cpus();
	ret = check_link(dp, e);
	if (ret)
		goto err_free;
	dp->taken_over = take_over(dp, maps);
	skel = load(maps, meter, xdp, e);
	if (!skel) {
		ret = -EIO;
		goto err_maps;
	}
	for (i = 0; i < __MAPS; i++)
		dp->maps[i] = dup(bpf_map__fd(skel_map(skel, i)));
	ret = hang_all(dp, skel, attach, xdp, e);
	decap__destroy(skel);
	if (ret)
		goto err_maps;
	maps_drop(maps);
	hook_prog_info(dp->progs[HOOK_INGRESS], &info);
	dp->prog_id = info.id;
	pin(dp, pins);
	log_info("%s: decapsulator %s at %s, program %u%s%s", interface,
		 dp->replaced ? "replaced, maps taken over," : dp->taken_over ? "taken over" : "attached",
		 dp->progs[HOOK_XDP] >= 0 ? "XDP and tc" : "tc", dp->prog_id, dp->pin[0] ? ", pinned in " : "", dp->pin);
	*out = dp;
	return 0;

err_maps:
	maps_drop(maps);
err_free:
	dp_close(dp);
	return ret;
}

int dp_look(const char *interface, struct dataplane **out, struct err *e)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));
	unsigned int i;
	int ret;

	if (!dp)
		return err_set(e, -ENOMEM, "no memory");
	libbpf_set_print(libbpf_says);
	for (i = 0; i < __MAPS; i++)
		dp->maps[i] = -1;
	for (i = 0; i < __HOOKS; i++)
		dp->progs[i] = -1;
	snprintf(dp->interface, sizeof(dp->interface), "%s", interface);
	dp->cpus = libbpf_num_possible_cpus();
	ret = check_link(dp, e);
	if (!ret && !take_over(dp, dp->maps))
		ret = err_set(e, -ENOENT, "%s: no decapsulator of ours is attached", interface);
	if (ret)
		dp_close(dp);
	else
		*out = dp;
	return ret;
}

int dp_mtu(const struct dataplane *dp)
{
	return dp->mtu;
}

void dp_close(struct dataplane *dp)
{
	unsigned int i;

	if (!dp)
		return;
	maps_drop(dp->maps);
	for (i = 0; i < __HOOKS; i++)
		if (dp->progs[i] >= 0)
			close(dp->progs[i]);
	free(dp);
}

void dp_remove(struct dataplane *dp, const char *pins)
{
	static const char *const programs[] = { "duet_decap" };

	hook_detach(dp->ifindex, HOOK_XDP);
	hook_detach(dp->ifindex, HOOK_INGRESS);
	hook_detach(dp->ifindex, HOOK_EGRESS);
	hook_leave(dp->ifindex);
	pin_remove(pins, map_names, __MAPS);
	pin_remove(pins, programs, 1);
}

void dp_facts(const struct dataplane *dp, struct dp_facts *f)
{
	f->program = dp->prog_id;
	f->mtu = dp->mtu;
	f->xdp = dp->progs[HOOK_XDP] >= 0;
	f->taken_over = dp->taken_over;
	f->replaced = dp->replaced;
	snprintf(f->pin, sizeof(f->pin), "%.250s", dp->pin);
	snprintf(f->pin_why, sizeof(f->pin_why), "%s", dp->pin_why);
	snprintf(f->xdp_why, sizeof(f->xdp_why), "%s", dp->xdp_why);
}
