/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data plane as the agent sees it: a struct of hooks, so that nothing above
 * knows whether the module, a BPF twin or a switch chip is behind it.
 */
#ifndef DUET_MUX_BACKEND_H
#define DUET_MUX_BACKEND_H

#include "duet_nl.h"
#include "route.h"

struct config;

struct backend {
	const struct backend_ops *ops;
};

/* All return 0 or -errno with a sentence. Nothing here waits for the network. */
struct backend_ops {
	const char *name;
	/* open - no device is there yet: ensure() makes it */
	int (*open)(const struct config *config, struct backend **out, struct err *e);
	void (*close)(struct backend *b);
	/* ensure - the device is there, up and set up, and has its ports, as far as these are there; *remade: it wasn't
	 * there, so it is empty now. -EOPNOTSUPP: it isn't there and can't be made
	 */
	int (*ensure)(struct backend *b, struct rt *rt, bool *remade, struct err *e);
	/* device - settings, limits, use and counters; released by duet_dev_release() */
	int (*device)(struct backend *b, struct duet_dev *dev, struct err *e);
	/* keys - the keys of the deployment's hash; -EBUSY while a VIP uses one that changes */
	int (*keys)(struct backend *b, const struct secret keys[DUET_KEYS], struct err *e);
	/* dump - all VIPs with states and counters, sorted by address; the caller's */
	int (*dump)(struct backend *b, struct vip ***vips, unsigned int *n, struct err *e);
	/* flush - remove every VIP */
	int (*flush)(struct backend *b, struct err *e);
	/* apply - each operation ends with its own result; a refused one changed nothing */
	int (*apply)(struct backend *b, struct duet_op *ops, unsigned int n, struct err *e);
	/* keepalive - the device goes down if this isn't heard again for ms; 0: it stays up for ever.
	 * NULL: there is no such thing
	 */
	int (*keepalive)(struct backend *b, unsigned int ms, struct err *e);
	/* port - does the mux take packets from this port? If not, *why says so. NULL: there is no such thing */
	bool (*port)(struct backend *b, const char *name, const char **why);
	/* events_fd - readable when somebody changed something; -1: never */
	int (*events_fd)(struct backend *b, struct err *e);
	/* events - read them; *changed: by others, or some were lost */
	int (*events)(struct backend *b, bool *changed);
};

extern const struct backend_ops backend_kmod, backend_sim;

#endif
