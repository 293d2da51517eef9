// SPDX-License-Identifier: GPL-2.0
/*
 * The HTTP server's sockets and connections: libmicrohttpd with an epoll of
 * its own for each socket, whose file descriptor sits in the program's event
 * loop. A connection that keeps us waiting is cut, and when there are too many
 * the one that idles longest: a thousand idlers don't keep the controller out.
 */
#include "http_priv.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SWEEP_USEC (1000 * 1000)
#define BACKLOG 4096
#define TURN_USEC 5000	/* then others in the loop have their turn */

void conn_phase(struct http_conn *conn, enum conn_phase phase)
{
	conn->phase = phase;
	conn->since = mono_usec();
}

/* run - let libmicrohttpd work, then arm the timer it asks for: its epoll is
 * edge-triggered, so without the timer it could wait for ever. Of connections
 * resumed while it runs (a request's event wakes the streams) it doesn't say.
 */
static void run(struct listener *l)
{
	uint64_t end = mono_usec() + TURN_USEC;
	MHD_UNSIGNED_LONG_LONG ms;
	unsigned long accepted;
	bool timed;

	l->kicked = false;
	do {	/* it accepts ten connections at a time, and reads 32 KiB of each; a body may have a thousand times that */
		accepted = l->server->count.accepted;
		MHD_run(l->mhd);
		timed = MHD_get_timeout(l->mhd, &ms) == MHD_YES;
	} while (!l->kicked && (accepted != l->server->count.accepted || (timed && !ms)) && mono_usec() < end);
	if (l->kicked) {
		listener_kick(l);
	} else if (timed) {
		sd_event_source_set_time_relative(l->timer, ms * 1000);
		sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
	} else {
		sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
	}
}

void listener_kick(struct listener *l)
{
	if (l->server->stopping)
		return;
	l->kicked = true;
	sd_event_source_set_time_relative(l->timer, 0);
	sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	run(ctx);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	run(ctx);
	return 0;
}

/* cut - libmicrohttpd sees the end of the connection, and closes it */
static void cut(struct http_conn *conn)
{
	conn->cut = true;
	conn->listener->server->count.cut++;
	shutdown(conn->fd, SHUT_RDWR);
}

static unsigned int patience(const struct http_conn *conn)
{
	switch (conn->phase) {
	case CONN_WAITS:
		/* who idles is closed by libmicrohttpd; who trickles, here */
		return conn->served ? DUET_HTTP_IDLE_S + 10 : DUET_HTTP_FIRST_S;
	case CONN_ASKED:
		return 0;
	case CONN_SENDS:
		return DUET_HTTP_BODY_S + conn->received / DUET_HTTP_RATE;
	default:
		return DUET_HTTP_REQUEST_S;
	}
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct http_server *s = ctx;
	uint64_t now = mono_usec();
	struct http_conn *conn;

	for (conn = s->conns; conn; conn = conn->next) {
		unsigned int seconds = patience(conn);

		if (!seconds || conn->cut || now - conn->since <= seconds * 1000000ull)
			continue;
		s->count.slow += conn->phase == CONN_SENDS;
		cut(conn);
	}
	linger_sweep(s, now);
	streams_check(s);
	if (!s->conns && !s->n_lingering)
		return 0;
	sd_event_source_set_time_relative(source, SWEEP_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* goes_before - of two that wait: the one whose peer has more connections, else the one that waits longer */
static bool goes_before(const struct http_conn *a, const struct http_conn *b)
{
	return a->of->connections != b->of->connections ? a->of->connections > b->of->connections : a->since < b->since;
}

/* make_room - a connection that waits for nothing goes; whoever has many loses one of them first */
static void make_room(struct http_server *s)
{
	struct http_conn *conn, *first = NULL;

	for (conn = s->conns; conn; conn = conn->next)
		if (conn->phase == CONN_WAITS && !conn->cut && conn->listener != &s->local && (!first || goes_before(conn, first)))
			first = conn;
	if (first)
		cut(first);
}

static void name_of(struct http_conn *conn, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info;
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (conn->listener->local) {
		if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
			cred.uid = -1;	/* the uid of nobody: no list can name it */
		snprintf(conn->name, sizeof(conn->name), "uid:%u", cred.uid);
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info && info->client_addr->sa_family == AF_INET)
		addr_from_raw(&((struct sockaddr_in *)info->client_addr)->sin_addr, 4, &conn->peer);
	else if (info && info->client_addr->sa_family == AF_INET6)
		addr_from_raw(&((struct sockaddr_in6 *)info->client_addr)->sin6_addr, 16, &conn->peer);
	addr_str(&conn->peer, conn->name);
}

static void conn_start(struct listener *l, struct MHD_Connection *connection, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_conn *conn = calloc(1, sizeof(*conn));
	struct http_server *s = l->server;

	*context = conn;
	if (!conn)
		return;		/* its first request is refused */
	conn->listener = l;
	conn->fd = info->connect_fd;
	name_of(conn, connection);
	conn->connection = connection;
	conn->of = peer_get(s, conn->name);
	if (!conn->of) {
		free(conn);
		*context = NULL;
		return;
	}
	if (l->tls) {
		conn->set = tls_set_ref(tls_now(s->tls));
		tls_demand(conn);
	}
	conn_phase(conn, CONN_WAITS);
	if (s->n_conns >= s->max_conns)
		make_room(s);
	if (!s->conns) {
		sd_event_source_set_time_relative(s->sweep, SWEEP_USEC);
		sd_event_source_set_enabled(s->sweep, SD_EVENT_ONESHOT);
	}
	conn->next = s->conns;
	conn->prev = &s->conns;
	if (conn->next)
		conn->next->prev = &conn->next;
	s->conns = conn;
	s->n_conns++;
	s->count.accepted++;
}

static void conn_end(struct http_server *s, struct http_conn *conn)
{
	if (!conn)
		return;
	if (conn->next)
		conn->next->prev = conn->prev;
	*conn->prev = conn->next;
	s->n_conns--;
	if (conn->refused)
		linger_start(s, conn->fd);
	tls_set_unref(conn->set);
	peer_put(s, conn->of);
	free(conn->target);
	free(conn);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct listener *l = ctx;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		conn_start(l, connection, context);
	else
		conn_end(l->server, *context);
}

static void mhd_log(void *ctx, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

static int tcp_socket(const struct conf_listen *listen_at, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(listen_at->port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(listen_at->port) };
	bool is_v4 = addr_is_v4(&listen_at->addr);
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, ret;
	char text[ADDR_STRLEN];

	memcpy(&v4.sin_addr, listen_at->addr.b + 12, 4);
	memcpy(&v6.sin6_addr, listen_at->addr.b, 16);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd >= 0 && !bind(fd, is_v4 ? (void *)&v4 : (void *)&v6, is_v4 ? sizeof(v4) : sizeof(v6)) && !listen(fd, BACKLOG))
		return fd;
	ret = err_set(e, -errno, "can't listen on %s port %u: %s", addr_str(&listen_at->addr, text), listen_at->port,
		      strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* unix_socket - a socket that nobody listens on any more gives way, nothing else does */
static int unix_socket(const char *path, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret = -1;
	struct stat st;
	mode_t mask;

	strcpy(sun.sun_path, path);	/* as long as conf_listen.path */
	if (fd >= 0 && !stat(path, &st) && S_ISSOCK(st.st_mode) && connect(fd, (void *)&sun, sizeof(sun)) && errno == ECONNREFUSED)
		unlink(path);
	mask = umask(0177);
	if (fd >= 0)
		ret = bind(fd, (void *)&sun, sizeof(sun));
	umask(mask);
	if (!ret && !listen(fd, BACKLOG))
		return fd;
	ret = err_set(e, -errno, "can't listen on unix:%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* no_certificate - for libmicrohttpd, which wants to have one of its own or this; each session has the present set's */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algos, int n_algos,
			  gnutls_pcert_st **certs, unsigned int *n_certs, gnutls_privkey_t *key)
{
	return -1;
}

static int listener_start(struct http_server *s, struct listener *l, int fd, bool tls, struct err *e)
{
	struct MHD_OptionItem options[] = {
		{ tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, 0, no_certificate },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
		{ MHD_OPTION_END, 0, NULL },
	};
	const union MHD_DaemonInfo *info;
	int ret;

	l->server = s;
	l->tls = tls;
	errno = 0;
	l->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0),
				  0, NULL, NULL, request_on, s,
				  MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
				  MHD_OPTION_LISTEN_SOCKET, fd,
				  MHD_OPTION_URI_LOG_CALLBACK, request_line, s,
				  MHD_OPTION_NOTIFY_COMPLETED, request_done, s,
				  MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
				  MHD_OPTION_CONNECTION_LIMIT, s->max_conns + DUET_HTTP_SPARE,
				  MHD_OPTION_CONNECTION_TIMEOUT, DUET_HTTP_IDLE_S,
				  MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (!l->mhd) {
		close(fd);
		return err_set(e, errno ? -errno : -EIO, "the HTTP server doesn't start%s%s", errno ? ": " : "",
			       errno ? strerror(errno) : "");
	}
	info = MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	ret = sd_event_add_io(s->loop, &l->io, info->epoll_fd, EPOLLIN, on_io, l);
	if (ret >= 0)
		ret = sd_event_add_time_relative(s->loop, &l->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, l);
	return ret < 0 ? err_set(e, ret, "HTTP server: no event source: %s", strerror(-ret)) : 0;
}

static int tcp_start(struct http_server *s, const struct http_conf *conf, struct err *e)
{
	int fd = tcp_socket(&conf->listen, e);

	return fd < 0 ? fd : listener_start(s, &s->tcp, fd, s->tls, e);
}

int http_server_start(sd_event *loop, const struct http_conf *conf, struct tls *tls, const struct auth *auth,
		      const struct http_route *routes, void *ctx,
		      struct http_server **server, struct err *e)
{
	struct http_server *s;
	const struct http_route *route;
	int ret, fd;

	if (conf->listen.port && !tls && !conf->insecure)
		return err_set(e, -EINVAL, "listen on TCP needs certificates");
	for (route = routes; route->method; route++)
		if (route->right == RIGHT_UNSET)
			return err_set(e, -EINVAL, "route %s %s names no right", route->method, route->path);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "no memory for the HTTP server");
	s->loop = loop;
	TAILQ_INIT(&s->lingering);
	s->max_conns = conf->connections ?: DUET_HTTP_CONNECTIONS;
	s->max_bodies = conf->bodies ?: DUET_HTTP_BODIES_MAX;
	s->routes = routes;
	s->auth = auth;
	s->tls = tls;
	s->certificate_optional = conf->certificate_optional;
	s->ctx = ctx;
	ret = locals_start(s);
	if (ret >= 0)
		ret = worker_start(loop, &s->worker);
	if (ret >= 0)
		ret = sd_event_add_time_relative(loop, &s->sweep, CLOCK_MONOTONIC, SWEEP_USEC, 100000, on_sweep, s);
	if (ret < 0) {
		err_set(e, ret, "HTTP server: no event source: %s", strerror(-ret));
		goto err_stop;
	}
	ret = 0;
	if (conf->listen.port)
		ret = tcp_start(s, conf, e);
	if (!ret && conf->listen.path[0]) {
		fd = unix_socket(conf->listen.path, e);
		s->local.local = true;
		ret = fd < 0 ? fd : listener_start(s, &s->local, fd, false, e);
		if (!ret)
			memcpy(s->path, conf->listen.path, sizeof(s->path));
	}
	if (ret)
		goto err_stop;
	*server = s;
	return 0;

err_stop:
	http_server_stop(s);
	return ret;
}

static void listener_stop(struct listener *l)
{
	sd_event_source_disable_unref(l->io);
	sd_event_source_disable_unref(l->timer);
	if (l->mhd)
		MHD_stop_daemon(l->mhd);
}

void http_server_stop(struct http_server *s)
{
	if (!s)
		return;
	s->stopping = true;
	worker_stop(s->worker, parse_drop);
	s->worker = NULL;
	streams_end(s);
	locals_end(s);
	listener_stop(&s->tcp);
	listener_stop(&s->local);
	linger_sweep(s, 0);
	sd_event_source_disable_unref(s->sweep);
	if (s->path[0])
		unlink(s->path);
	free(s);
}

void http_server_metrics(const struct http_server *s, struct metrics *m)
{
	metrics_family(m, "duet_http_connections", "gauge", "Connections to the REST server");
	metrics_add(m, s->n_conns, NULL);
	metrics_family(m, "duet_http_connections_total", "counter", "Connections by what became of them");
	metrics_add(m, s->count.accepted, "what", "accepted", NULL);
	metrics_add(m, s->count.cut, "what", "cut", NULL);
	metrics_family(m, "duet_http_slow_bodies_total", "counter", "Connections cut because a body came too slowly");
	metrics_add(m, s->count.slow, NULL);
	metrics_family(m, "duet_http_bodies_refused_total", "counter", "Bodies refused unread: too large, or for a GET");
	metrics_add(m, s->count.refused, NULL);
	metrics_family(m, "duet_http_unauthorized_total", "counter", "Requests refused because the peer lacks the right");
	metrics_add(m, s->count.unauthorized, NULL);
	metrics_family(m, "duet_http_requests_total", "counter", "Requests to the REST server");
	metrics_add(m, s->count.requests, NULL);
}
