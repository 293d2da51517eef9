// SPDX-License-Identifier: GPL-2.0
/* --check, --export, --import, --backup: the store looked at, written out and read back. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/etcd.h"
#include "store/store.h"

const char command_help[] =
	"sees the fabric, assigns VIPs to switches, moves them without loss\n"
	"      --check        is the store whole and readable\n"
	"      --export FILE  the whole store as JSON (- is standard output)\n"
	"      --import FILE  an export into an empty store\n"
	"      --backup FILE  a copy of an SQLite store";

int command_take(int *argc, char **argv, struct command *c, struct err *e)
{
	static const char *const names[] = { "check", "export", "import", "backup" };
	int from, to = 1;
	unsigned int i;

	for (from = 1; from < *argc; from++) {
		for (i = 0; i < 4; i++)
			if (!strncmp(argv[from], "--", 2) && !strcmp(argv[from] + 2, names[i]))
				break;
		if (i == 4) {
			argv[to++] = argv[from];
			continue;
		}
		if (c->what)
			return err_set(e, -EINVAL, "--%s and --%s: one at a time", c->what, names[i]);
		c->what = names[i];
		if (i && from + 1 < *argc)
			c->file = argv[++from];
		if (i && !c->file)
			return err_set(e, -EINVAL, "--%s needs a FILE", names[i]);
	}
	argv[to] = NULL;
	*argc = to;
	return 0;
}

static void count(const struct store_vip *v, void *ctx)
{
	++*(unsigned int *)ctx;
}

static int import(struct store *s, const char *file, struct err *e)
{
	json_error_t error;
	json_t *dump = strcmp(file, "-") ? json_load_file(file, 0, &error) : json_loadf(stdin, 0, &error);
	struct err why;
	int ret;

	if (!dump)
		return err_set(e, -EINVAL, "%s:%d: %s", file, error.line, error.text);
	ret = store_import(s, dump, &why);
	json_decref(dump);
	return ret ? err_set(e, ret, "%s: %s", file, why.text) : 0;
}

static int export(struct store *s, const char *file, struct err *e)
{
	json_t *dump = store_export(s, true);
	mode_t mask;
	int ret;

	if (!dump)
		return err_set(e, -EIO, "store %s can't be read", store_name(s));
	mask = umask(077);	/* it holds the key of the deployment */
	ret = strcmp(file, "-") ? json_dump_file(dump, file, JSON_INDENT(1) | JSON_SORT_KEYS) :
				  json_dumpf(dump, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
	umask(mask);
	json_decref(dump);
	return ret ? err_set(e, -EIO, "%s: %s", file, strerror(errno)) : 0;
}

int command_run(struct controller *ctl, const struct command *c, struct err *e)
{
	unsigned int vips = 0;
	struct store_conf conf;
	uint64_t revision = 0, lease = 0;
	struct store *s = NULL;
	int ret = 0;

	if (!ctl->conf.store)
		return err_set(e, -EINVAL, "the configuration names no store");
	ctl_store_conf(ctl, 0, &conf);
	if (!strcmp(c->what, "import") && store_is_etcd(conf.spec))
		ret = etcd_lead_now(&conf, &revision, &lease, e);
	conf.leader_rev = revision;
	if (!ret)
		ret = store_open(&conf, &s, e);
	if (ret)
		goto out;
	if (!strcmp(c->what, "import"))
		ret = import(s, c->file, e);
	else if (!strcmp(c->what, "export"))
		ret = export(s, c->file, e);
	else if (!strcmp(c->what, "backup"))
		ret = store_backup(s, c->file, e);
	else if (store_vip_each(s, count, &vips))
		ret = err_set(e, -EIO, "store %s can't be read", store_name(s));
	else
		printf("%s: ok, %u VIPs\n", store_name(s), vips);
out:
	store_close(s);
	if (lease)
		etcd_leave(&conf, lease);
	return ret;
}
