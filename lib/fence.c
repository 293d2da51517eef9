// SPDX-License-Identifier: GPL-2.0
/*
 * The file is one line of fixed width, written in place by one pwrite(): a process that is killed leaves the old line
 * or the new one, and a line of less than a sector isn't torn by a power failure.
 */
#include "fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE	"duet-fence 1 %016" PRIx64 " %016" PRIx64 "\n"
#define LINE_LEN 47

static int line_read(struct fence *f, const char *path, struct err *e)
{
	char line[LINE_LEN + 2] = "", again[LINE_LEN + 1];
	ssize_t n = pread(f->fd, line, sizeof(line) - 1, 0);

	if (n < 0)
		return err_set(e, -errno, "%s can't be read: %s", path, strerror(errno));
	if (!n)
		return 0;	/* new */
	if (sscanf(line, "duet-fence 1 %16" SCNx64 " %16" SCNx64, &f->epoch, &f->generation) == 2) {
		snprintf(again, sizeof(again), LINE, f->epoch, f->generation);
		if (!strcmp(line, again) && f->epoch <= FENCE_MAX && f->generation <= FENCE_MAX)
			return 0;
	}
	return err_set(e, -EUCLEAN, "%s isn't a fence: remove it if any controller may command this node again", path);
}

static int line_write(struct fence *f, uint64_t epoch, uint64_t generation, bool flush, struct err *e)
{
	char line[LINE_LEN + 1];
	ssize_t n;

	if (f->fd < 0)
		return 0;
	snprintf(line, sizeof(line), LINE, epoch, generation);
	n = pwrite(f->fd, line, LINE_LEN, 0);
	if (n == LINE_LEN && (!flush || !fdatasync(f->fd)))
		return 0;
	if (n >= 0 && n < LINE_LEN)
		errno = ENOSPC;
	return err_set(e, -errno, "the fence can't be written: %s; without it this node would obey a deposed controller after a restart",
		       strerror(errno));
}

int fence_open(struct fence *f, const char *dir, const char *name, struct err *e)
{
	char path[512];
	int ret;

	*f = (struct fence){ .fd = -1 };
	if (!dir)
		return 0;
	if (snprintf(path, sizeof(path), "%s/%s.fence", dir, name) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "%s: the name of the state folder is too long", dir);
	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_set(e, -errno, "the state folder %s can't be made: %s", dir, strerror(errno));
	f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->fd < 0)
		return err_set(e, -errno, "%s can't be opened: %s", path, strerror(errno));
	if (flock(f->fd, LOCK_EX | LOCK_NB)) {
		ret = err_set(e, -EBUSY, "%s is in use: another agent of that name runs", path);
		goto err_close;
	}
	ret = line_read(f, path, e);
	if (!ret)
		return 0;
err_close:
	close(f->fd);
	f->fd = -1;
	return ret;
}

void fence_close(struct fence *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int fence_check(const struct fence *f, uint64_t epoch, uint64_t generation, struct err *e)
{
	if (epoch > FENCE_MAX || generation > FENCE_MAX)
		return err_set(e, -ERANGE, "\"epoch\" and \"generation\" are at most %llu: a larger one would shut every controller out",
			       FENCE_MAX);
	if (epoch > f->epoch || (epoch == f->epoch && generation >= f->generation))
		return 0;
	return err_set(e, -ESTALE, "epoch %llu generation %llu is older than epoch %llu generation %llu that the agent holds",
		       (unsigned long long)epoch, (unsigned long long)generation, (unsigned long long)f->epoch,
		       (unsigned long long)f->generation);
}

int fence_pass(struct fence *f, uint64_t epoch, uint64_t generation, struct err *e)
{
	int ret = fence_check(f, epoch, generation, e);

	if (ret || (epoch == f->epoch && generation == f->generation))
		return ret;
	ret = line_write(f, epoch, generation, epoch != f->epoch, e);
	if (ret)
		return ret;
	f->epoch = epoch;
	f->generation = generation;
	return 0;
}

int fence_reset(struct fence *f, struct err *e)
{
	int ret = line_write(f, 0, 0, true, e);

	if (ret)
		return ret;
	f->epoch = 0;
	f->generation = 0;
	return 0;
}
