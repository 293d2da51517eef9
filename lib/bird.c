// SPDX-License-Identifier: GPL-2.0
/*
 * Client of BIRD's control socket. A reply is lines "NNNN-text" (more follow)
 * and "NNNN text" (the last); a line that starts with a space continues the
 * code before it. 0001 greets; 8xxx and 9xxx are errors.
 */
#include "bird.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_USEC	(1000 * 1000)
#define ANSWER_USEC	(2 * 1000 * 1000)

struct command {
	struct command *next;
	char *text;
	bird_done *done;
	void *ctx;
};

struct bird {
	sd_event *loop;
	char *path;
	void (*state_cb)(enum bird_state state, const char *detail, void *ctx);
	void *ctx;
	enum bird_state state;
	char detail[160];
	int fd;
	sd_event_source *io, *timer;
	struct command *first, **last;
	bool sent;		/* the first command was written */
	char *in, *reply;	/* bytes of an incomplete line; text of the answer so far */
	size_t in_len, reply_len;
};

static void set_state(struct bird *b, enum bird_state state, const char *detail)
{
	if (b->state == state && !strcmp(b->detail, detail))
		return;
	b->state = state;
	snprintf(b->detail, sizeof(b->detail), "%s", detail);
	if (b->state_cb)
		b->state_cb(state, b->detail, b->ctx);
}

static void arm(struct bird *b, uint64_t usec)
{
	sd_event_source_set_time_relative(b->timer, usec);
	sd_event_source_set_enabled(b->timer, SD_EVENT_ONESHOT);
}

/* finish - the first command is answered */
static void finish(struct bird *b, int code, const char *text)
{
	struct command *c = b->first;

	if (!c)
		return;
	b->first = c->next;
	if (!b->first)
		b->last = &b->first;
	b->sent = false;
	if (c->done)
		c->done(code, text, c->ctx);
	free(c->text);
	free(c);
}

static void drop(struct bird *b, int error, enum bird_state state, const char *detail)
{
	sd_event_source_disable_unref(b->io);
	b->io = NULL;
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
	free(b->in);
	free(b->reply);
	b->in = b->reply = NULL;
	b->in_len = b->reply_len = 0;
	set_state(b, state, detail);
	while (b->first)
		finish(b, error, "");
	arm(b, RETRY_USEC);
}

static void send_next(struct bird *b)
{
	size_t len;

	if (b->sent || !b->first || b->state != BIRD_UP)
		return;
	len = strlen(b->first->text);
	if (send(b->fd, b->first->text, len, MSG_NOSIGNAL) != (ssize_t)len) {
		drop(b, -EPIPE, BIRD_DOWN, "the control socket was closed");
		return;
	}
	b->sent = true;
	arm(b, ANSWER_USEC);
}

static bool reply_add(struct bird *b, const char *text)
{
	size_t len = strlen(text);
	char *more = realloc(b->reply, b->reply_len + len + 2);

	if (!more)
		return false;
	b->reply = more;
	memcpy(more + b->reply_len, text, len);
	b->reply_len += len;
	more[b->reply_len++] = '\n';
	more[b->reply_len] = '\0';
	return true;
}

static void on_line(struct bird *b, const char *line)
{
	int code = 0;

	if (line[0] == ' ' || line[0] == '+') {
		reply_add(b, line + 1);
		return;
	}
	if (strlen(line) < 5 || strspn(line, "0123456789") != 4)
		return;
	code = atoi(line);
	reply_add(b, line + 5);
	if (line[4] == '-')
		return;
	if (code == 1 && b->state != BIRD_UP) {
		set_state(b, BIRD_UP, line + 5);
		sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
	} else if (b->sent) {
		sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
		finish(b, code, b->reply ?: "");
	}
	free(b->reply);
	b->reply = NULL;
	b->reply_len = 0;
	send_next(b);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct bird *b = ctx;
	char buf[16384], *more, *end;
	ssize_t n = recv(b->fd, buf, sizeof(buf), MSG_DONTWAIT);
	size_t at = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		drop(b, -EPIPE, BIRD_DOWN, "the control socket was closed");
		return 0;
	}
	more = realloc(b->in, b->in_len + n + 1);
	if (!more) {
		drop(b, -ENOMEM, BIRD_DOWN, "no memory");
		return 0;
	}
	b->in = more;
	memcpy(b->in + b->in_len, buf, n);
	b->in_len += n;
	b->in[b->in_len] = '\0';
	while (b->in && (end = memchr(b->in + at, '\n', b->in_len - at))) {
		char *line = b->in + at;

		*end = '\0';
		at = end - b->in + 1;
		on_line(b, line);
	}
	if (b->in) {
		memmove(b->in, b->in + at, b->in_len - at);
		b->in_len -= at;
	}
	return 0;
}

static void try_connect(struct bird *b)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char why[128];

	b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b->fd < 0) {
		drop(b, -errno, BIRD_DOWN, strerror(errno));
		return;
	}
	strncpy(sun.sun_path, b->path, sizeof(sun.sun_path) - 1);
	if (connect(b->fd, (struct sockaddr *)&sun, sizeof(sun))) {
		snprintf(why, sizeof(why), "%s: %s", b->path, strerror(errno));
		drop(b, -errno, BIRD_DOWN, why);
		return;
	}
	if (sd_event_add_io(b->loop, &b->io, b->fd, EPOLLIN, on_io, b) < 0) {
		drop(b, -ENOMEM, BIRD_DOWN, "no memory");
		return;
	}
	set_state(b, BIRD_CONNECTING, "waiting for BIRD's greeting");
	arm(b, ANSWER_USEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct bird *b = ctx;

	if (b->fd < 0)
		try_connect(b);
	else
		drop(b, -ETIMEDOUT, BIRD_WEDGED, "BIRD takes the connection and doesn't answer");
	return 0;
}

int bird_start(sd_event *loop, const char *socket, void (*state)(enum bird_state state, const char *detail, void *ctx),
	       void *ctx, struct bird **out)
{
	struct bird *b;
	int ret;

	if (strlen(socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->loop = loop;
	b->fd = -1;
	b->last = &b->first;
	b->state_cb = state;
	b->ctx = ctx;
	b->path = strdup(socket);
	ret = b->path ? sd_event_add_time_relative(loop, &b->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, b) : -ENOMEM;
	if (ret < 0) {
		free(b->path);
		free(b);
		return ret;
	}
	snprintf(b->detail, sizeof(b->detail), "not connected yet");
	*out = b;
	return 0;
}

void bird_stop(struct bird *b)
{
	if (!b)
		return;
	b->state_cb = NULL;
	drop(b, -ECANCELED, BIRD_DOWN, "stopped");
	sd_event_source_disable_unref(b->timer);
	free(b->path);
	free(b);
}

enum bird_state bird_state(const struct bird *b)
{
	return b->state;
}

int bird_command(struct bird *b, const char *text, bird_done *done, void *ctx)
{
	struct command *c;
	size_t len = strlen(text);

	if (b->state != BIRD_UP)
		return -ENOTCONN;
	c = calloc(1, sizeof(*c));
	if (c)
		c->text = malloc(len + 2);
	if (!c || !c->text) {
		free(c);
		return -ENOMEM;
	}
	memcpy(c->text, text, len);
	memcpy(c->text + len, "\n", 2);
	c->done = done;
	c->ctx = ctx;
	*b->last = c;
	b->last = &c->next;
	send_next(b);
	return 0;
}
