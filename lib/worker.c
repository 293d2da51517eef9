// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct piece {
	TAILQ_ENTRY(piece) list;
	void (*work)(void *ctx), (*done)(void *ctx);
	void *ctx;
};

struct worker {
	TAILQ_HEAD(, piece) pieces;	/* the first is under way if busy */
	bool busy, threaded;
	pthread_t thread;
	int over;			/* eventfd */
	sd_event_source *io;
};

static void *run(void *ctx)
{
	struct worker *w = ctx;
	struct piece *p = TAILQ_FIRST(&w->pieces);
	uint64_t one = 1;

	p->work(p->ctx);
	while (write(w->over, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void next(struct worker *w)
{
	if (w->busy || TAILQ_EMPTY(&w->pieces))
		return;
	w->busy = true;
	w->threaded = !pthread_create(&w->thread, NULL, run, w);
	if (!w->threaded)
		run(w);
}

static int on_over(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct worker *w = ctx;
	struct piece *p = TAILQ_FIRST(&w->pieces);
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	if (w->threaded)
		pthread_join(w->thread, NULL);
	w->busy = false;
	TAILQ_REMOVE(&w->pieces, p, list);
	next(w);
	p->done(p->ctx);
	free(p);
	return 0;
}

int worker_do(struct worker *w, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = (struct piece){ .work = work, .done = done, .ctx = ctx };
	TAILQ_INSERT_TAIL(&w->pieces, p, list);
	next(w);
	return 0;
}

int worker_start(sd_event *loop, struct worker **out)
{
	struct worker *w = calloc(1, sizeof(*w));
	int ret = -ENOMEM;

	if (!w)
		return ret;
	TAILQ_INIT(&w->pieces);
	w->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = w->over < 0 ? -errno : sd_event_add_io(loop, &w->io, w->over, EPOLLIN, on_over, w);
	if (ret < 0)
		goto err_free;
	*out = w;
	return 0;

err_free:
	if (w->over >= 0)
		close(w->over);
	free(w);
	return ret;
}

void worker_stop(struct worker *w, void (*drop)(void *ctx))
{
	struct piece *p;

	if (!w)
		return;
	if (w->busy && w->threaded)
		pthread_join(w->thread, NULL);
	while ((p = TAILQ_FIRST(&w->pieces))) {
		TAILQ_REMOVE(&w->pieces, p, list);
		drop(p->ctx);
		free(p);
	}
	sd_event_source_disable_unref(w->io);
	close(w->over);
	free(w);
}
