// SPDX-License-Identifier: GPL-2.0
/*
 * The engine as a service. A plan of a whole fabric takes seconds, and what
 * else is in the process must not wait for it, the death of a DIP least of all:
 * plans are made in a thread, one at a time. A request's body is the thread's
 * until it is answered; nobody changes JSON that was handed over.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../controller.h"
#include "http.h"
#include "worker.h"

struct job {
	struct http_request *req;
	json_t *body, *plan;
	struct err e;
	int ret;
};

static void make(void *ctx)
{
	struct job *j = ctx;

	j->ret = plan_make(j->body, &j->plan, &j->e);
}

static void answer(void *ctx)
{
	struct job *j = ctx;

	if (j->ret)
		http_problem(j->req, j->ret == -EINVAL ? 400 : 500, NULL, "%s", j->e.text);
	else
		http_reply(j->req, 200, j->plan);
	free(j);
}

static void drop(void *ctx)
{
	struct job *j = ctx;

	json_decref(j->plan);
	free(j);
}

void plan_post(struct http_request *req, json_t *body, void *ctx)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j)
		*j = (struct job){ .req = req, .body = body };
	if (!j || worker_do(((struct controller *)ctx)->engine, make, answer, j)) {
		free(j);
		http_problem(req, 500, NULL, "out of memory");
	}
}

int plan_start(struct controller *ctl, struct err *e)
{
	int ret = worker_start(ctl->loop, &ctl->engine);

	return ret ? err_set(e, ret, "engine: %s", strerror(-ret)) : 0;
}

void plan_stop(struct controller *ctl)
{
	worker_stop(ctl->engine, drop);
	ctl->engine = NULL;
}
