// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the decapsulator on the interface: a tc filter at clsact ingress, the
 * one attachment that 6.1 and newer kernels share and that outlives its maker.
 * What is attached is the truth: an agent that starts finds the program there,
 * takes over its maps, and replaces the program (in one step) only if it is of
 * another text. Pins are for people and tools: bpftool sees the maps by name.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "decap.skel.h"
#include "host.h"
#include "log.h"

#define FILTER_HANDLE	1
#define FILTER_PRIORITY	8472
#define PROGRAM		"duet_decap"

enum map_id { MAP_MUXES, MAP_DIPS, MAP_SERVED, MAP_REASONS, MAP_META, __MAPS };
static const char *const map_names[__MAPS] = { "muxes", "dips", "served", "reasons", "meta" };

struct dataplane {
	char interface[IF_NAMESIZE];
	unsigned int ifindex;
	int maps[__MAPS], prog;		/* owned */
	uint32_t prog_id;
	bool taken_over, replaced;
	char pin[PATH_MAX];		/* "" if not pinned */
	char pin_why[256];
	int cpus;
};

static const char *const reason_names[__DECAP_MAX] = {
	[DECAP_OK] = "decapsulated", [DECAP_FOREIGN] = "foreign",
	[DECAP_UNKNOWN_SOURCE] = "unknown-source", [DECAP_NOT_SERVED] = "not-served",
	[DECAP_FRAGMENT] = "fragment", [DECAP_MALFORMED] = "malformed",
	[DECAP_ECN] = "ecn", [DECAP_FAILED] = "failed",
};

const char *dp_reason_name(enum decap_reason reason)
{
	return reason_names[reason];
}

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
static int check_link(const char *interface, struct err *e)
{
	struct ifreq ifr = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0)
		return err_set(e, -errno, "can't make a socket: %s", strerror(errno));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		ret = err_set(e, -errno, "interface %s: %s", interface, strerror(errno));
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		ret = err_set(e, -EOPNOTSUPP, "interface %s is no Ethernet device: its packets can't be decapsulated",
			      interface);
	close(fd);
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

/* maps_of - the maps that an attached program uses, by name; -ENOENT: not all there */
static int maps_of(int prog, int *maps)
{
	struct bpf_prog_info info = {};
	uint32_t ids[16], len = sizeof(info), i, m;

	info.map_ids = (uintptr_t)ids;
	info.nr_map_ids = 16;
	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	for (i = 0; i < info.nr_map_ids && i < 16; i++) {
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
	for (m = 0; m < __MAPS; m++)
		if (maps[m] < 0)
			return -ENOENT;
	return 0;
}

static int prog_tag(int prog, uint8_t *tag, uint32_t *id, char *name, size_t size)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	memcpy(tag, info.tag, BPF_TAG_SIZE);
	*id = info.id;
	if (name)
		snprintf(name, size, "%s", info.name);
	return 0;
}

/* take_over - program and maps that hang on the interface; false: nothing of ours there */
static bool take_over(struct dataplane *dp, const struct bpf_tc_hook *hook, int *prog, int *maps)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	uint8_t tag[BPF_TAG_SIZE];
	char name[BPF_OBJ_NAME_LEN];
	uint32_t id;

	if (bpf_tc_query(hook, &opts))
		return false;
	*prog = bpf_prog_get_fd_by_id(opts.prog_id);
	if (*prog < 0)
		return false;
	if (!prog_tag(*prog, tag, &id, name, sizeof(name)) && !strcmp(name, PROGRAM) && !maps_of(*prog, maps))
		return true;
	log_warn("%s: a program at the place of ours has other maps: replacing it, counters begin anew", dp->interface);
	maps_drop(maps);
	close(*prog);
	*prog = -1;
	return false;
}

static struct bpf_map *skel_map(const struct decap *skel, enum map_id id)
{
	switch (id) {
	case MAP_MUXES: return skel->maps.muxes;
	case MAP_DIPS: return skel->maps.dips;
	case MAP_SERVED: return skel->maps.served;
	case MAP_REASONS: return skel->maps.reasons;
	default: return skel->maps.meta;
	}
}

/* load - our program, with the maps of the one before; *fit: they all fitted */
static struct decap *load(const int *maps, bool *fit, struct err *e)
{
	struct decap *skel = decap__open();
	unsigned int i;
	int ret;

	if (!skel) {
		err_set(e, -errno, "the BPF program can't be read: %s", strerror(errno));
		return NULL;
	}
	*fit = true;
	for (i = 0; i < __MAPS; i++) {
		if (maps[i] < 0 || !bpf_map__reuse_fd(skel_map(skel, i), maps[i]))
			continue;
		log_warn("map %s of the program before doesn't fit: it begins anew", map_names[i]);
		*fit = false;
	}
	ret = decap__load(skel);
	/* the text of the program doesn't mention "meta": bound, it is found again */
	if (!ret && bpf_prog_bind_map(bpf_program__fd(skel->progs.duet_decap), bpf_map__fd(skel->maps.meta), NULL))
		ret = -errno;
	if (ret) {
		err_set(e, ret, "the kernel refuses the BPF program (%s): BPF needs CAP_BPF and CAP_NET_ADMIN, or root",
			strerror(-ret));
		decap__destroy(skel);
		return NULL;
	}
	return skel;
}

static int attach(struct dataplane *dp, struct bpf_tc_hook *hook, int prog, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = prog, .flags = BPF_TC_F_REPLACE);
	int ret = bpf_tc_hook_create(hook);

	if (ret && ret != -EEXIST)
		return err_set(e, ret, "%s: no clsact queueing discipline: %s", dp->interface, strerror(-ret));
	ret = bpf_tc_attach(hook, &opts);
	if (ret)
		return err_set(e, ret, "%s: the BPF program can't be attached: %s", dp->interface, strerror(-ret));
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* own_mounts - a mount made here is seen by nobody else: our mount namespace
 * isn't that of process 1 or, where that one is hidden, of who started us
 */
static bool own_mounts(void)
{
	struct stat own, other;
	char path[32];

	if (stat("/proc/self/ns/mnt", &own))
		return false;
	if (stat("/proc/1/ns/mnt", &other)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", getppid());
		if (stat(path, &other))
			return false;
	}
	return own.st_ino != other.st_ino;
}

static int make_dirs(char *path)
{
	char *p;

	for (p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST && errno != EROFS) {
			*p = '/';
			return -errno;
		}
		*p = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* pin_dir - make it, on a BPF file system; why not, in dp->pin_why */
static int pin_dir(struct dataplane *dp, const char *dir)
{
	static const char usual[] = "/sys/fs/bpf";
	bool in_usual = !strncmp(dir, usual, strlen(usual)) && (!dir[strlen(usual)] || dir[strlen(usual)] == '/');
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s", dir);
	/* a folder made where bpffs isn't mounted yet would be hidden by the mount */
	if (in_usual && !is_bpffs(usual)) {
		if (!own_mounts()) {
			snprintf(dp->pin_why, sizeof(dp->pin_why),
				 "%s is no BPF file system and mounts here are the whole machine's: mount -t bpf bpf %s",
				 usual, usual);
			return -ENOTSUP;
		}
		if (mount("bpf", usual, "bpf", 0, NULL)) {
			snprintf(dp->pin_why, sizeof(dp->pin_why), "can't mount a BPF file system on %s: %s", usual,
				 strerror(errno));
			return -ENOTSUP;
		}
	}
	ret = make_dirs(path);
	if (ret) {
		snprintf(dp->pin_why, sizeof(dp->pin_why), "can't make %.150s: %s", dir, strerror(-ret));
		return ret;
	}
	if (is_bpffs(dir))
		return 0;
	if (!own_mounts()) {
		snprintf(dp->pin_why, sizeof(dp->pin_why),
			 "%.150s is not on a BPF file system and mounts here are the whole machine's", dir);
		return -ENOTSUP;
	}
	if (mount("bpf", dir, "bpf", 0, NULL)) {
		snprintf(dp->pin_why, sizeof(dp->pin_why), "can't mount a BPF file system on %.150s: %s", dir,
			 strerror(errno));
		return -ENOTSUP;
	}
	return 0;
}

/* pin_one - put the object of that id at dir/name unless it is there already */
static int pin_one(const char *dir, const char *name, int fd, bool prog)
{
	struct bpf_prog_info pi = {}, own_pi = {};
	struct bpf_map_info mi = {}, own_mi = {};
	char path[PATH_MAX + 64];
	uint32_t len, old = 0, own = 0;
	int there;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	there = bpf_obj_get(path);
	if (there >= 0) {
		len = prog ? sizeof(pi) : sizeof(mi);
		if (!bpf_obj_get_info_by_fd(there, prog ? (void *)&pi : (void *)&mi, &len))
			old = prog ? pi.id : mi.id;
		len = prog ? sizeof(pi) : sizeof(mi);
		if (!bpf_obj_get_info_by_fd(fd, prog ? (void *)&own_pi : (void *)&own_mi, &len))
			own = prog ? own_pi.id : own_mi.id;
		close(there);
		if (old && old == own)
			return 0;
		unlink(path);
	}
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

static void pin(struct dataplane *dp, const char *dir)
{
	unsigned int i;
	int ret;

	if (pin_dir(dp, dir))
		goto out;
	ret = pin_one(dir, PROGRAM, dp->prog, true);
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

int dp_open(const char *interface, const char *pins, struct dataplane **out, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	uint8_t old_tag[BPF_TAG_SIZE], tag[BPF_TAG_SIZE];
	struct dataplane *dp = calloc(1, sizeof(*dp));
	int old = -1, maps[__MAPS], ret;
	struct decap *skel;
	uint32_t old_id = 0;
	bool fit;
	unsigned int i;

	if (!dp)
		return err_set(e, -ENOMEM, "no memory");
	libbpf_set_print(libbpf_says);
	for (i = 0; i < __MAPS; i++)
		maps[i] = dp->maps[i] = -1;
	dp->prog = -1;
	snprintf(dp->interface, sizeof(dp->interface), "%s", interface);
	dp->cpus = libbpf_num_possible_cpus();
	ret = check_link(interface, e);
	if (ret)
		goto err_free;
	dp->ifindex = if_nametoindex(interface);
	hook.ifindex = dp->ifindex;

	dp->taken_over = take_over(dp, &hook, &old, maps);
	skel = load(maps, &fit, e);
	if (!skel) {
		ret = -EIO;
		goto err_maps;
	}
	dp->prog = dup(bpf_program__fd(skel->progs.duet_decap));
	for (i = 0; i < __MAPS; i++)
		dp->maps[i] = dup(bpf_map__fd(skel_map(skel, i)));
	decap__destroy(skel);
	ret = prog_tag(dp->prog, tag, &dp->prog_id, NULL, 0);
	if (ret) {
		err_set(e, ret, "can't look at the loaded BPF program: %s", strerror(-ret));
		goto err_maps;
	}
	if (dp->taken_over && fit && !prog_tag(old, old_tag, &old_id, NULL, 0) && !memcmp(old_tag, tag, BPF_TAG_SIZE)) {
		close(dp->prog);	/* the same text, with the same maps: leave it */
		dp->prog = old;
		dp->prog_id = old_id;
		old = -1;
	} else {
		dp->replaced = dp->taken_over;
		ret = attach(dp, &hook, dp->prog, e);
		if (ret)
			goto err_maps;
	}
	if (old >= 0)
		close(old);
	maps_drop(maps);
	pin(dp, pins);
	log_info("%s: decapsulator %s, program %u%s%s", interface,
		 dp->replaced ? "replaced, maps taken over" : dp->taken_over ? "taken over" : "attached", dp->prog_id,
		 dp->pin[0] ? ", pinned in " : "", dp->pin);
	*out = dp;
	return 0;

err_maps:
	maps_drop(maps);
	if (old >= 0)
		close(old);
err_free:
	dp_close(dp);
	return ret;
}

void dp_close(struct dataplane *dp)
{
	if (!dp)
		return;
	maps_drop(dp->maps);
	if (dp->prog >= 0)
		close(dp->prog);
	free(dp);
}

json_t *dp_json(const struct dataplane *dp)
{
	json_t *j = json_pack("{s:s, s:s, s:I, s:b, s:b}", "interface", dp->interface, "hook", "clsact ingress",
			      "program", (json_int_t)dp->prog_id, "taken-over", dp->taken_over,
			      "replaced", dp->replaced);

	if (dp->pin[0])
		json_object_set_new(j, "pinned", json_string(dp->pin));
	else
		json_object_set_new(j, "not-pinned", json_string(dp->pin_why));
	return j;
}

/* keys_get - all keys of a hash map; *out malloc'd */
static int keys_get(int map, size_t size, void **out, unsigned int *n)
{
	char *keys = calloc(DECAP_MAX_SERVED, size);
	void *last = NULL;

	if (!keys)
		return -ENOMEM;
	for (*n = 0; *n < DECAP_MAX_SERVED; (*n)++) {
		if (bpf_map_get_next_key(map, last, keys + *n * size))
			break;
		last = keys + *n * size;
	}
	*out = keys;
	return 0;
}

int dp_muxes_get(struct dataplane *dp, uint32_t **muxes, unsigned int *n)
{
	return keys_get(dp->maps[MAP_MUXES], sizeof(**muxes), (void **)muxes, n);
}

int dp_served_get(struct dataplane *dp, struct decap_key **keys, unsigned int *n)
{
	return keys_get(dp->maps[MAP_SERVED], sizeof(**keys), (void **)keys, n);
}

static bool holds(const void *keys, unsigned int n, const void *key, size_t size)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!memcmp((const char *)keys + i * size, key, size))
			return true;
	return false;
}

/* keys_add - those that are missing, with a value of zeros; *changed may be NULL */
static int keys_add(struct dataplane *dp, enum map_id id, const void *keys, unsigned int n, size_t size,
		    size_t value_size, unsigned int *changed, struct err *e)
{
	void *zero = calloc(dp->cpus, value_size < 8 ? 8 : value_size);
	unsigned int i;
	int ret = 0;

	if (!zero)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		if (!bpf_map_update_elem(dp->maps[id], (const char *)keys + i * size, zero, BPF_NOEXIST)) {
			if (changed)
				(*changed)++;
		} else if (errno != EEXIST) {
			ret = err_set(e, -errno, "BPF map %s: %s", map_names[id], strerror(errno));
			break;
		}
	}
	free(zero);
	return ret;
}

/* keys_keep - remove all but these */
static int keys_keep(struct dataplane *dp, enum map_id id, const void *keys, unsigned int n, size_t size,
		     unsigned int *changed, struct err *e)
{
	unsigned int i, have;
	void *old;

	if (keys_get(dp->maps[id], size, &old, &have))
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < have; i++) {
		const void *key = (const char *)old + i * size;

		if (holds(keys, n, key, size))
			continue;
		bpf_map_delete_elem(dp->maps[id], key);
		if (changed)
			(*changed)++;
	}
	free(old);
	return 0;
}

int dp_muxes_set(struct dataplane *dp, const uint32_t *muxes, unsigned int n, unsigned int *changed, struct err *e)
{
	int ret = keys_add(dp, MAP_MUXES, muxes, n, sizeof(*muxes), 1, changed, e);

	return ret ?: keys_keep(dp, MAP_MUXES, muxes, n, sizeof(*muxes), changed, e);
}

static uint32_t *dips_of(const struct decap_key *keys, unsigned int n)
{
	uint32_t *dips = calloc(n + 1, sizeof(*dips));
	unsigned int i;

	for (i = 0; dips && i < n; i++)
		dips[i] = keys[i].dip;
	return dips;
}

int dp_served_add(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e)
{
	uint32_t *dips = dips_of(keys, n);
	int ret;

	if (!dips)
		return err_set(e, -ENOMEM, "no memory");
	ret = keys_add(dp, MAP_SERVED, keys, n, sizeof(*keys), sizeof(struct decap_stat), changed, e);
	if (!ret)
		ret = keys_add(dp, MAP_DIPS, dips, n, sizeof(*dips), 1, NULL, e);
	free(dips);
	return ret;
}

int dp_served_keep(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e)
{
	uint32_t *dips = dips_of(keys, n);
	int ret;

	if (!dips)
		return err_set(e, -ENOMEM, "no memory");
	ret = keys_keep(dp, MAP_SERVED, keys, n, sizeof(*keys), changed, e);
	if (!ret)
		ret = keys_keep(dp, MAP_DIPS, dips, n, sizeof(*dips), NULL, e);
	free(dips);
	return ret;
}

int dp_stat(struct dataplane *dp, const struct decap_key *key, struct decap_stat *stat)
{
	struct decap_stat *each = calloc(dp->cpus, sizeof(*each));
	int ret = 0, i;

	memset(stat, 0, sizeof(*stat));
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(dp->maps[MAP_SERVED], key, each)) {
		ret = -errno;
		goto out;
	}
	for (i = 0; i < dp->cpus; i++) {
		stat->packets += each[i].packets;
		stat->bytes += each[i].bytes;
	}
out:
	free(each);
	return ret;
}

int dp_reason(struct dataplane *dp, enum decap_reason reason, uint64_t *n)
{
	uint64_t *each = calloc(dp->cpus, sizeof(*each));
	uint32_t key = reason;
	int ret = 0, i;

	*n = 0;
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(dp->maps[MAP_REASONS], &key, each))
		ret = -errno;
	for (i = 0; !ret && i < dp->cpus; i++)
		*n += each[i];
	free(each);
	return ret;
}

int dp_meta_get(struct dataplane *dp, struct decap_meta *meta)
{
	uint32_t key = 0;

	return bpf_map_lookup_elem(dp->maps[MAP_META], &key, meta) ? -errno : 0;
}

int dp_meta_set(struct dataplane *dp, const struct decap_meta *meta)
{
	uint32_t key = 0;

	return bpf_map_update_elem(dp->maps[MAP_META], &key, meta, BPF_ANY) ? -errno : 0;
}
