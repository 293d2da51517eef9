// SPDX-License-Identifier: GPL-2.0
/*
 * A connection that is refused while the peer still sends is closed in two
 * steps: the answer and the end of our side, then, when the peer has read them,
 * the socket. Closed at once the kernel would reset it, and the peer would often
 * see the reset and not the sentence. What still comes is thrown away unread,
 * and there is a bound on it.
 */
#include "http_priv.h"
#include "clock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MAX	32		/* sockets at a time */
#define LINGER_USEC	(2 * 1000000ull)
#define LINGER_BYTES	(256u << 10)

struct http_linger {
	TAILQ_ENTRY(http_linger) list;
	struct http_server *server;
	sd_event_source *io;
	int fd;
	size_t left;			/* bytes that it may still send */
	uint64_t until;			/* mono_usec() */
};

static void linger_free(struct http_linger *l)
{
	TAILQ_REMOVE(&l->server->lingering, l, list);
	l->server->n_lingering--;
	sd_event_source_disable_unref(l->io);
	close(l->fd);
	free(l);
}

static int on_data(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct http_linger *l = ctx;
	char waste[16384];
	ssize_t n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);

	if (n <= 0 || (size_t)n >= l->left)
		linger_free(l);
	else
		l->left -= n;
	return 0;
}

void linger_start(struct http_server *s, int fd)
{
	struct http_linger *l;

	if (s->stopping || s->n_lingering >= LINGER_MAX)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->server = s;
	l->left = LINGER_BYTES;
	l->until = mono_usec() + LINGER_USEC;
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);	/* libmicrohttpd closes its own */
	if (l->fd < 0) {
		free(l);
		return;
	}
	shutdown(l->fd, SHUT_WR);
	TAILQ_INSERT_TAIL(&s->lingering, l, list);
	s->n_lingering++;
	if (sd_event_add_io(s->loop, &l->io, l->fd, EPOLLIN, on_data, l) < 0)
		linger_free(l);
}

void linger_sweep(struct http_server *s, uint64_t now)
{
	struct http_linger *l;

	/* the first is the oldest */
	while ((l = TAILQ_FIRST(&s->lingering)) && (s->stopping || now > l->until))
		linger_free(l);
}
