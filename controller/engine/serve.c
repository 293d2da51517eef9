// SPDX-License-Identifier: GPL-2.0
/*
 * The engine as a service. A plan of a whole fabric takes seconds, and what
 * else is in the process must not wait for it, the death of a DIP least of all:
 * plans are made in a thread, one at a time. A request's body is the thread's
 * until it is answered; nobody changes JSON that was handed over.
 */
#include "plan.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "../controller.h"
#include "http.h"

struct job {
	TAILQ_ENTRY(job) list;
	struct http_request *req;
	json_t *body, *plan;
	struct err e;
	int ret;
};

struct engine_service {
	TAILQ_HEAD(, job) jobs;	/* the first is the thread's */
	bool busy;
	pthread_t thread;
	int done;		/* eventfd */
	sd_event_source *io;
};

static void *work(void *ctx)
{
	struct engine_service *s = ctx;
	struct job *j = TAILQ_FIRST(&s->jobs);
	uint64_t one = 1;

	j->ret = plan_make(j->body, &j->plan, &j->e);
	while (write(s->done, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void answer(struct job *j)
{
	if (j->ret)
		http_problem(j->req, j->ret == -EINVAL ? 400 : 500, NULL, "%s", j->e.text);
	else
		http_reply(j->req, 200, j->plan);
}

static void next(struct engine_service *s)
{
	struct job *j;

	while (!s->busy && (j = TAILQ_FIRST(&s->jobs))) {
		s->busy = !pthread_create(&s->thread, NULL, work, s);
		if (s->busy)
			return;
		TAILQ_REMOVE(&s->jobs, j, list);
		http_problem(j->req, 500, NULL, "no thread to make a plan in");
		free(j);
	}
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct engine_service *s = ctx;
	struct job *j = TAILQ_FIRST(&s->jobs);
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	pthread_join(s->thread, NULL);
	s->busy = false;
	TAILQ_REMOVE(&s->jobs, j, list);
	answer(j);
	free(j);
	next(s);
	return 0;
}

void plan_post(struct http_request *req, json_t *body, void *ctx)
{
	struct engine_service *s = ((struct controller *)ctx)->engine;
	struct job *j = calloc(1, sizeof(*j));

	if (!j) {
		http_problem(req, 500, NULL, "out of memory");
		return;
	}
	j->req = req;
	j->body = body;
	TAILQ_INSERT_TAIL(&s->jobs, j, list);
	next(s);
}

int plan_start(struct controller *ctl, struct err *e)
{
	struct engine_service *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		goto err;
	TAILQ_INIT(&s->jobs);
	s->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = s->done < 0 ? -errno : sd_event_add_io(ctl->loop, &s->io, s->done, EPOLLIN, on_done, s);
	if (ret < 0)
		goto err_free;
	ctl->engine = s;
	return 0;

err_free:
	if (s->done >= 0)
		close(s->done);
	free(s);
err:
	return err_set(e, ret, "engine: %s", strerror(-ret));
}

void plan_stop(struct controller *ctl)
{
	struct engine_service *s = ctl->engine;
	struct job *j;

	if (!s)
		return;
	if (s->busy)
		pthread_join(s->thread, NULL);
	while ((j = TAILQ_FIRST(&s->jobs))) {
		TAILQ_REMOVE(&s->jobs, j, list);
		json_decref(j->plan);
		free(j);
	}
	sd_event_source_disable_unref(s->io);
	close(s->done);
	free(s);
	ctl->engine = NULL;
}
