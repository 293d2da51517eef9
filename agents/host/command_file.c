// SPDX-License-Identifier: GPL-2.0
/*
 * Which files may be run as checks: those that nobody but root could have put where
 * they are. What only root can change needs no lock between the look and the use.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"

#define OTHERS (S_IWGRP | S_IWOTH)

int commands_policy(const struct conf *conf, struct command_policy *policy, struct err *e)
{
	struct passwd *pw = getpwnam(conf->check_user);

	if (!pw)
		return err_set(e, -EINVAL, "[checks] user = %.64s: there is no such user on this host", conf->check_user);
	if (!pw->pw_uid || !pw->pw_gid)
		return err_set(e, -EINVAL, "[checks] user = %.64s: commands of checks never run as root, nor in root's group", conf->check_user);
	*policy = (struct command_policy){ .dir = conf->check_dir, .user = conf->check_user, .uid = pw->pw_uid, .gid = pw->pw_gid };
	return 0;
}

/* trusted - root's, and not to be written by others; a sticky folder above keeps others from renaming what is root's */
static int trusted(const char *path, bool above, const struct stat *st, struct err *e)
{
	if (st->st_uid)
		return err_set(e, -EPERM, "%.200s belongs to uid %u, not to root: chown root it", path, st->st_uid);
	if ((st->st_mode & OTHERS) && !(above && st->st_mode & S_ISVTX))
		return err_set(e, -EPERM, "%.200s can be written by others than root (mode %04o): chmod go-w it", path, st->st_mode & 07777);
	return 0;
}

int commands_folder(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	struct stat st;
	bool above = false;
	char *up;
	int ret;

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "[checks] command-dir: the name is too long");
	for (;;) {
		/* a link is looked at and refused: where it leads is another's to say */
		if (lstat(path, &st))
			return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
		if (!S_ISDIR(st.st_mode))
			return err_set(e, -ENOTDIR, "%.200s is no folder%s", path, S_ISLNK(st.st_mode) ? " but a symbolic link" : "");
		ret = trusted(path, above, &st, e);
		if (ret || !strcmp(path, "/"))
			return ret;
		above = true;
		up = dirname(path);
		memmove(path, up, strlen(up) + 1);
	}
}

int commands_file(const char *dir, const char *name, char path[PATH_MAX], struct err *e)
{
	struct stat st;
	int ret;

	ret = probe_command_name(name, "the check", e);
	if (!ret)
		ret = commands_folder(dir, e);
	if (ret)
		return ret;
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "[checks] command-dir: the name is too long");
	if (lstat(path, &st))
		return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EACCES, "%.200s is no regular file", path);
	ret = trusted(path, false, &st, e);
	if (!ret && !(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
		ret = err_set(e, -EACCES, "%.200s is not executable: chmod +x it", path);
	return ret;
}
