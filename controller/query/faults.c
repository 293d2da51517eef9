// SPDX-License-Identifier: GPL-2.0
/* The list of faults, and those of the controller itself. */
#include "faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../updater/parts.h"
#include "daemon.h"

static const char *const object_names[] = {
	[OBJECT_CONTROLLER] = "controller", [OBJECT_DEPLOYMENT] = "deployment", [OBJECT_CERTIFICATE] = "certificate",
	[OBJECT_MUX] = "mux", [OBJECT_HOST] = "host", [OBJECT_VIP] = "vip", [OBJECT_DIP] = "dip", [OBJECT_LINK] = "link",
	[OBJECT_PEER] = "peer",
};

const char *fault_object_name(enum fault_object object)
{
	return object_names[object];
}

void fault_add(struct fault_list *list, enum fault_code code, enum fault_object object, const char *name, const char *fmt, ...)
{
	struct fault *f;
	char text[512];
	va_list ap;

	if (list->n == list->size) {
		unsigned int size = list->size ? 2 * list->size : 32;
		struct fault *all = reallocarray(list->all, size, sizeof(*all));

		if (!all)
			return;
		list->all = all;
		list->size = size;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f = &list->all[list->n];
	*f = (struct fault){ .code = code, .object = object, .sentence = strdup(text) };
	if (!f->sentence)
		return;
	snprintf(f->name, sizeof(f->name), "%s", name);
	list->n++;
}

void faults_free(struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < list->n; i++)
		free(list->all[i].sentence);
	free(list->all);
	*list = (struct fault_list){};
}

int fault_compare(const struct fault *a, const struct fault *b)
{
	int severity = (int)fault_infos[b->code].severity - (int)fault_infos[a->code].severity;

	if (severity)
		return severity;
	if (a->code != b->code)
		return a->code < b->code ? -1 : 1;
	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	return strverscmp(a->name, b->name);
}

static int compare(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;
	int order = fault_compare(x, y);

	return order ? order : strcmp(x->sentence, y->sentence);
}

struct trouble {
	struct fault_list *list;
	const char *name;
};

static void add_trouble(enum fault_code code, const char *what, const char *sentence, void *ctx)
{
	struct trouble *t = ctx;

	fault_add(t->list, code, what ? OBJECT_CERTIFICATE : OBJECT_CONTROLLER, what ? what : t->name, "%s", sentence);
}

static void fault_controller(const struct updater *u, struct fault_list *list)
{
	const char *name = u->ctl->conf.name;
	struct trouble t = { list, name };

	if (!u->model)
		fault_add(list, FAULT_TOPOLOGY_UNKNOWN, OBJECT_CONTROLLER, name, "the topology is not known yet");
	else if (!u->configured)
		fault_add(list, FAULT_NOT_CONFIGURED, OBJECT_CONTROLLER, name,
			  "there has been no configuration yet: agents are polled, and nothing is pushed to them");
	if (*store_trouble(u->store))
		fault_add(list, FAULT_STORE_UNWRITABLE, OBJECT_CONTROLLER, name, "the store can't be written: %s", store_trouble(u->store));
	if (u->control.stop)
		fault_add(list, FAULT_MOVES_STOPPED, OBJECT_DEPLOYMENT, name, "moves are stopped by the operator");
	daemon_each_trouble(u->ctl->tls, add_trouble, &t);
	tls_each_trouble(u->ctl->etcd_tls, add_trouble, &t);
}

static void part_lost(const char *name, const char *url, const char *why, void *ctx)
{
	fault_add(ctx, FAULT_PART_UNREACHABLE, OBJECT_CONTROLLER, name, "the %s at %s does not answer: %s", name, url, why);
}

void fault_parts(const struct updater *u, struct fault_list *list)
{
	parts_each_lost(u, part_lost, list);
}

void faults_gather(const struct updater *u, struct fault_list *list)
{
	fault_controller(u, list);
	fault_muxes(u, list);
	fault_links(u, list);
	fault_hosts(u, list);
	fault_vips(u, list);
	fault_policies(u, list);
	fault_snat(u, list);
	fault_key(u, list);
	fault_smuxes(u, list);
	fault_parts(u, list);
}

void faults_sort(struct fault_list *list)
{
	if (list->n)
		qsort(list->all, list->n, sizeof(*list->all), compare);
}
