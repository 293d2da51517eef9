// SPDX-License-Identifier: GPL-2.0
/*
 * Pins, for people and tools: bpftool sees program and maps by name. What is
 * attached keeps them alive without.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host.h"

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

int pin_dir(const char *dir, struct err *e)
{
	static const char usual[] = "/sys/fs/bpf";
	bool in_usual = !strncmp(dir, usual, strlen(usual)) && (!dir[strlen(usual)] || dir[strlen(usual)] == '/');
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s", dir);
	/* a folder made where bpffs isn't mounted yet would be hidden by the mount */
	if (in_usual && !is_bpffs(usual)) {
		if (!own_mounts())
			return err_set(e, -ENOTSUP, "%s is no BPF file system and mounts here are the whole machine's: mount -t bpf bpf %s",
				       usual, usual);
		if (mount("bpf", usual, "bpf", 0, NULL))
			return err_set(e, -ENOTSUP, "can't mount a BPF file system on %s: %s", usual, strerror(errno));
	}
	ret = make_dirs(path);
	if (ret)
		return err_set(e, ret, "can't make %.150s: %s", dir, strerror(-ret));
	if (is_bpffs(dir))
		return 0;
	if (!own_mounts())
		return err_set(e, -ENOTSUP, "%.150s is not on a BPF file system and mounts here are the whole machine's", dir);
	if (mount("bpf", dir, "bpf", 0, NULL))
		return err_set(e, -ENOTSUP, "can't mount a BPF file system on %.150s: %s", dir, strerror(errno));
	return 0;
}

static uint32_t id_of(int fd, bool prog)
{
	struct bpf_prog_info pi = {};
	struct bpf_map_info mi = {};
	uint32_t len = prog ? sizeof(pi) : sizeof(mi);

	if (bpf_obj_get_info_by_fd(fd, prog ? (void *)&pi : (void *)&mi, &len))
		return 0;
	return prog ? pi.id : mi.id;
}

int pin_one(const char *dir, const char *name, int fd, bool prog)
{
	char path[PATH_MAX + 64];
	int there;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	there = bpf_obj_get(path);
	if (there >= 0) {
		bool same = id_of(there, prog) == id_of(fd, prog);

		close(there);
		if (same)
			return 0;
		unlink(path);
	}
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

void pin_remove(const char *dir, const char *const *names, unsigned int n)
{
	char path[PATH_MAX + 64];
	unsigned int i;

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}
