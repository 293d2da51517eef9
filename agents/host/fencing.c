// SPDX-License-Identifier: GPL-2.0
/*
 * Which controller is obeyed. The newest epoch and generation are in the map `meta`,
 * which lives as long as the programs: the truth while the machine is up, for
 * --unfence too. The file (lib/fence.h) is for the time after: under systemd it is in
 * the unit's state folder.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "log.h"

/* No controller takes so large a step: an epoch counts its starts, or etcd's revisions, a generation its changes. */
#define STEP_MAX	(1ull << 40)

static const char *folder(const struct conf *conf)
{
	return conf->state_dir ?: getenv("STATE_DIRECTORY");
}

/* held - what the map has: --unfence may have changed it */
static void held(struct privileged *priv)
{
	struct decap_meta meta = {};

	if (dp_meta_get(priv->dp, &meta))
		return;
	priv->fence.epoch = meta.epoch;
	priv->fence.generation = meta.generation;
}

int fencing_open(struct privileged *priv, struct err *e)
{
	struct decap_meta file, map = {};
	int ret = fence_open(&priv->fence, folder(priv->conf), priv->conf->name, e);

	if (ret)
		return ret;
	file = (struct decap_meta){ priv->fence.epoch, priv->fence.generation };
	if (dp_meta_get(priv->dp, &map))
		return err_set(e, -errno, "BPF map meta: %s", strerror(errno));
	if (map.epoch > FENCE_MAX || map.generation > FENCE_MAX)
		log_warn("the fence is at epoch %llu generation %llu, which is no controller's: duet-host-agent --unfence or DELETE /v1/fence resets it",
			 map.epoch, map.generation);
	if (file.epoch > map.epoch || (file.epoch == map.epoch && file.generation > map.generation)) {
		if (dp_meta_set(priv->dp, &file))
			return err_set(e, -errno, "BPF map meta: %s", strerror(errno));
	}
	return 0;
}

int fencing_pass(struct privileged *priv, const struct decap_meta *asked, struct err *e)
{
	struct fence was;
	int ret;

	held(priv);
	was = priv->fence;
	ret = fence_check(&was, asked->epoch, asked->generation, e);
	if (ret)
		return ret;
	if (asked->epoch > was.epoch + STEP_MAX || asked->generation > was.generation + STEP_MAX)
		return err_set(e, -ERANGE, "epoch %llu generation %llu is further above epoch %llu generation %llu, which this host holds, than any controller gets in one step (2^40)",
			       asked->epoch, asked->generation, (unsigned long long)was.epoch, (unsigned long long)was.generation);
	ret = fence_pass(&priv->fence, asked->epoch, asked->generation, e);
	if (!ret && dp_meta_set(priv->dp, asked))
		ret = err_set(e, -errno, "BPF map meta: %s", strerror(errno));
	return ret;
}

int fencing_reset(struct privileged *priv, struct decap_meta *was, struct err *e)
{
	static const struct decap_meta none;
	int ret;

	held(priv);
	*was = (struct decap_meta){ priv->fence.epoch, priv->fence.generation };
	ret = fence_reset(&priv->fence, e);
	if (!ret && dp_meta_set(priv->dp, &none))
		ret = err_set(e, -errno, "BPF map meta: %s", strerror(errno));
	return ret;
}

/* file - of a command line, which systemd gives no folder */
static void file(const struct conf *conf, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s.fence", folder(conf) ?: "/var/lib/duet-host", conf->name);
}

void fencing_forget(const struct conf *conf)
{
	char path[PATH_MAX];

	file(conf, path);
	unlink(path);
}

int fencing_unfence(const struct conf *conf, struct err *e)
{
	static const struct decap_meta none;
	struct decap_meta was = {};
	char path[PATH_MAX];
	struct dataplane *dp;
	int ret = dp_look(conf->interface, &dp, e);

	if (ret && ret != -ENOENT)
		return ret;
	if (!ret) {
		dp_meta_get(dp, &was);
		ret = dp_meta_set(dp, &none);
		dp_close(dp);
		if (ret)
			return err_set(e, ret, "BPF map meta: %s", strerror(-ret));
	}
	/* emptied in place: an agent that runs has it open, and goes by the map */
	file(conf, path);
	if (truncate(path, 0) && errno != ENOENT)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	log_notice("uid %u removed the fence of epoch %llu generation %llu: the next controller is obeyed", getuid(), was.epoch, was.generation);
	return 0;
}
